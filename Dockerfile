# One image per service: docker build --build-arg SERVICE=store_scp -t pacstream/store-scp .
# SERVICE is query, retrieve, store_scp, anonymizer, converter, exporter, ledger or cli.
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services services
COPY cli cli
RUN --mount=type=cache,target=/var/cache/pip \
    pip --cache-dir /var/cache/pip wheel --disable-pip-version-check --no-deps --wheel-dir /dist .

FROM python:3.11-slim-bookworm AS build
RUN python -m venv --without-pip /opt/pacstream
COPY requirements /requirements
COPY --from=wheel /dist /dist
ARG SERVICE
RUN --mount=type=cache,target=/var/cache/pip \
    : "${SERVICE:?is not set}" \
    && pip --cache-dir /var/cache/pip --python /opt/pacstream/bin/python install --disable-pip-version-check \
        -c /requirements/constraints.txt "$(echo /dist/*.whl)[${SERVICE}]"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pacstream \
    && mkdir /data /out \
    && chown pacstream:pacstream /data /out
ARG SERVICE
COPY --from=build /opt/pacstream /opt/pacstream
ENV PATH=/opt/pacstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SERVICE=${SERVICE} \
    PACSTREAM_DATA=/data
WORKDIR /data
USER 10001:10001
# What follows the image's name is for the cli; a service takes its settings from PACSTREAM_*.
ENTRYPOINT ["/bin/sh", "-c", "[ \"$SERVICE\" = cli ] && exec pacstream \"$@\"; exec python -m \"pacstream_$SERVICE\"", "pacstream"]
