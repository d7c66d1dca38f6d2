# There are three stages: the base of the image, a build on top of the base, and the image itself, which has neither a compiler
# nor a package manager for Python.
FROM debian:bookworm-slim AS base
# The packages are not pinned: an image should have the newest ones that Debian and its security archive offer.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get upgrade -y \
    && apt-get install -y --no-install-recommends ca-certificates python3 tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/*.log /var/log/apt \
        /usr/share/doc/*/changelog* /usr/share/doc/*/NEWS* /usr/lib/python3.11/lib2to3 /usr/lib/python3.11/pydoc_data

FROM base AS build
# hadolint ignore=DL3008
RUN dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${source:Package}\n' > /debian-packages.txt \
    && apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
# The dependencies have a layer of their own, since they change less often than the sources.
COPY requirements.lock requirements-build.lock requirements-image.lock requirements-docs.lock ./
RUN python3 -m venv /opt/batchseal \
    && /opt/batchseal/bin/pip install --require-hashes -r requirements.lock \
    && python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes -r requirements-build.lock \
    && python3 -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --require-hashes -r requirements-image.lock \
    && python3 -m venv /opt/docs \
    && /opt/docs/bin/pip install --require-hashes -r requirements-docs.lock
COPY pyproject.toml setup.py README.md CHANGELOG.md LICENSE compose.yaml ./
COPY ext ext
COPY src src
COPY container container
# The documentation, which the service serves. It is built before the wheel, so the wheel has it.
COPY docs docs
COPY chart/values.yaml chart/values.yaml
COPY benchmarks/results/container.json benchmarks/results/container.json
RUN PYTHONPATH=.:src PYTHONDONTWRITEBYTECODE=1 /opt/docs/bin/properdocs build --strict --config-file docs/properdocs.yml
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && /opt/batchseal/bin/pip install --no-deps --no-index dist/*.whl \
    && /opt/batchseal/bin/pip uninstall --yes pip setuptools \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file python.json /opt/batchseal/bin/python \
    && python3 container/sbom.py python.json /debian-packages.txt /opt/batchseal/sbom.cdx.json \
    && container/slim.sh /opt/batchseal

FROM base
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Batchseal" \
    org.opencontainers.image.description="Seals batches of documents on the premises: only digests leave, to be signed remotely" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
# The volumes are /tmp and /home, as with the original product. A new volume takes its owner from these folders. The user id is
# fixed, so that an operator can chown an existing volume to it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /home --shell /usr/sbin/nologin batchseal \
    && chown batchseal:batchseal /home
COPY --from=build /opt/batchseal /opt/batchseal
# The address to listen on is set here, because the default of 127.0.0.1 could not be reached from outside the container. The C
# library would keep eight arenas of memory for each core, so MALLOC_ARENA_MAX allows two in all. The work folder is only read.
# Everything that is written goes to the volume /tmp, the exports of the audit trail included. Nobody but this user is there in the
# container; outside of one, the service has a folder of its user's.
ENV PATH=/opt/batchseal/bin:$PATH BATCHSEAL_HOST=0.0.0.0 BATCHSEAL_WORK_FOLDER=/home BATCHSEAL_TEMP_FOLDER=/tmp/batchseal \
    BATCHSEAL_AUDIT_FOLDER=/tmp/batchseal/audit PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
# The user is given by number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 10001:10001
WORKDIR /home
VOLUME /tmp /home
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 CMD ["batchseal", "probe"]
# tini is process 1: it passes signals on and reaps orphaned processes. With -s it also does so if another init is process 1
# (`docker run --init`).
ENTRYPOINT ["tini", "-s", "--", "batchseal", "serve"]
