# One image per service:
#   docker build --build-arg SERVICE=store_scp -t pacstream/store-scp:dev .
#   docker build --target cli --build-arg SERVICE=cli -t pacstream/cli:dev .
# SERVICE is query, retrieve, store_scp, anonymizer, converter, exporter, ledger or cli. `make images` builds all.
ARG BASE=python:3.11-slim-bookworm

# Our own code, without anything that it needs.
FROM ${BASE} AS code
WORKDIR /src
RUN python -m venv --without-pip /opt/pacstream
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services services
COPY cli cli
RUN --mount=type=cache,target=/var/cache/pip \
    pip --cache-dir /var/cache/pip --python /opt/pacstream/bin/python install \
        --disable-pip-version-check --no-deps --prefix /opt/code .

# The names of what this service needs from others. EXTRA=ocr gives the anonymizer what PACSTREAM_OCR
# needs. A stage of its own, so that only another list installs anything anew.
FROM ${BASE} AS wanted
WORKDIR /src
COPY pyproject.toml scripts/requirements ./
ARG SERVICE
ARG EXTRA=${SERVICE}
RUN python requirements "${EXTRA:?SERVICE is not set}" >wanted.txt

FROM ${BASE} AS dependencies
WORKDIR /src
RUN python -m venv --without-pip /opt/pacstream
COPY requirements/constraints.txt ./
COPY --from=wanted /src/wanted.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    pip --cache-dir /var/cache/pip --python /opt/pacstream/bin/python install \
        --disable-pip-version-check -c constraints.txt -r wanted.txt
# Others' tests hold private keys and data; the demo is made of some of the latter.
RUN grep -q pydicom-data wanted.txt \
    || find /opt/pacstream/lib -type d -name tests -prune -exec rm -rf {} +

FROM ${BASE} AS runtime
# tini is process 1: it hands on SIGTERM before a handler is there, and buries orphans.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pacstream \
    && mkdir /data /out \
    && chown pacstream:pacstream /data /out \
    && python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip
COPY --link --from=dependencies /opt/pacstream /opt/pacstream
COPY --link --from=code /opt/code /opt/pacstream
ARG SERVICE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pacstream ${SERVICE}" \
      org.opencontainers.image.description="Event-driven retrieval and de-identification of imaging studies from a PACS" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The pacstream authors"
ENV PATH=/opt/pacstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    SERVICE=${SERVICE} \
    PACSTREAM_DATA=/data \
    PACSTREAM_HTTP_PORT=8080
WORKDIR /data
USER 10001:10001
STOPSIGNAL SIGTERM

# The command line: what follows the image's name is its arguments.
FROM runtime AS cli
ENTRYPOINT ["/usr/bin/tini", "--", "pacstream"]

# What fills the PACS of docker-compose.yml's profile demo; SERVICE=demo.
FROM runtime AS demo
COPY demo/__init__.py demo/data.py demo/pacs.py demo/seed.py /opt/demo/demo/
ENV PYTHONPATH=/opt/demo
ENTRYPOINT ["/usr/bin/tini", "--", "python", "-m", "demo.seed"]

# A service takes its settings from PACSTREAM_*; nothing has to follow the image's name. Built without
# --target, the command line works, too, but for a health that it has not.
FROM runtime AS service
HEALTHCHECK --interval=10s --timeout=5s --retries=6 --start-period=30s \
    CMD ["python", "-m", "pacstream.probe"]
ENTRYPOINT ["/usr/bin/tini", "--", "/bin/sh", "-c", "[ \"$SERVICE\" = cli ] && exec pacstream \"$@\"; exec python -m \"pacstream_$SERVICE\" \"$@\"", "service"]
