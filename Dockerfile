# docker build -t waystation . && docker run -p 8080:8080 waystation
# Several of them with Redis, nginx, Prometheus and Grafana: deploy/compose; on Kubernetes: deploy/kubernetes (docs/deploying.md).
# The version of Python is pinned to its minor; the packages are pinned by requirements.lock, each with its hash.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# The packages change rarely: their layer is kept as long as the lock is the same.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/waystation \
    && pip --python /opt/waystation/bin/python install --require-hashes -r requirements.lock

COPY scripts/build.lock scripts/build.lock
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r scripts/build.lock

COPY pyproject.toml README.md LICENSE config.yaml ./
COPY proxy proxy
COPY routing routing
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/waystation/bin/python install --no-deps --no-index dist/waystation-*.whl


FROM python:3.13-slim
LABEL org.opencontainers.image.title="waystation" \
      org.opencontainers.image.description="A drop-in, OpenAI-compatible gateway" \
      org.opencontainers.image.licenses="Apache-2.0"

# Containers are reached from outside, so both addresses are open here; publish the admin port (metrics, admin) only where it is safe.
ENV PATH=/opt/waystation/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WAYSTATION_LISTEN=0.0.0.0:8080 \
    WAYSTATION_ADMIN_LISTEN=0.0.0.0:9090

RUN groupadd --gid 10001 waystation \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin waystation \
    && install -d -o waystation -g waystation -m 0750 /data
COPY --from=build /opt/waystation /opt/waystation

# State lies in the working directory. A number, so that an orchestrator can see that this is not root.
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['WAYSTATION_LISTEN'].rpartition(':')[2]), timeout=2); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["waystation"]
CMD ["serve"]
