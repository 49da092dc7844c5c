# One image per service: docker build --build-arg SERVICE=store_scp .
# SERVICE is query, retrieve, store_scp, anonymizer, converter, exporter or ledger.
FROM python:3.11-slim-bookworm AS build
ARG SERVICE
SHELL ["/bin/bash", "-c"]
WORKDIR /src
RUN python -m venv /opt/pacstream
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY shared shared
COPY services services
COPY cli cli
RUN : "${SERVICE:?is not set}" \
    && /opt/pacstream/bin/pip install --no-cache-dir --disable-pip-version-check \
        -c requirements/constraints.txt ".[${SERVICE//_/-}]"

FROM python:3.11-slim-bookworm
ARG SERVICE
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pacstream \
    && mkdir /data /out \
    && chown pacstream:pacstream /data /out
COPY --from=build /opt/pacstream /opt/pacstream
ENV PATH=/opt/pacstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SERVICE=${SERVICE} \
    PACSTREAM_DATA=/data
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["/bin/sh", "-c", "exec python -m \"pacstream_${SERVICE}\""]
