# `podium serve` of exported networks: without torch, not as root, with nothing to write.
#   docker build -t podium-serve .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -v "$PWD/models:/models:ro" podium-serve
# compose.yaml adds a token and Prometheus. docs/serving.md says more.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/podium
COPY serve.lock ./
RUN /opt/podium/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r serve.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/podium/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin podium
COPY --from=build /opt/podium /opt/podium
ENV PATH=/opt/podium/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["podium", "serve"]
CMD ["/models/model.onnx", "--host", "0.0.0.0", "--port", "8000"]
