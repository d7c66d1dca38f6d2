# Three stages: what runs, the build on top of it, and the result, which has no compiler and no package manager for Python.
FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
# The dependencies change less often than the sources: a layer of their own.
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /opt/batchseal \
    && /opt/batchseal/bin/pip install --require-hashes -r requirements.lock \
    && python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY ext ext
COPY src src
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && /opt/batchseal/bin/pip install --no-deps --no-index dist/*.whl \
    && /opt/batchseal/bin/pip uninstall --yes pip setuptools

FROM base
# The original's volumes are /tmp and /home. Fresh ones take their owner from here; the number is fixed for those who
# must chown an existing one.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /home --shell /usr/sbin/nologin batchseal \
    && chown batchseal:batchseal /home
COPY --from=build /opt/batchseal /opt/batchseal
# Not every container runtime leaves the mark that the defaults look for.
ENV PATH=/opt/batchseal/bin:$PATH BATCHSEAL_HOST=0.0.0.0 BATCHSEAL_WORK_FOLDER=/home PYTHONUNBUFFERED=1
USER batchseal
WORKDIR /home
VOLUME /tmp /home
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 CMD ["batchseal", "probe"]
ENTRYPOINT ["batchseal", "serve"]
