# syntax=docker/dockerfile:1

FROM python:3.12-slim AS build
# The plain torch of PyPI brings CUDA, several GB of it. Give PyTorch's own index of CPU builds to stay small:
#   docker compose build --build-arg TORCH_INDEX_URL=...
ARG TORCH_INDEX_URL=""
# Extras of pyproject.toml, e.g. registry,s3 for models in S3.
ARG EXTRAS="registry"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/autodeep
COPY requirements.lock ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
      /opt/autodeep/bin/pip install --index-url "$TORCH_INDEX_URL" \
        "$(grep '^torch==' requirements.lock)"; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY model_store model_store
COPY streams streams
RUN /opt/autodeep/bin/pip wheel --no-deps --wheel-dir /wheels . \
 && /opt/autodeep/bin/pip install -c requirements.lock "$(ls /wheels/*.whl)[$EXTRAS]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /home/autodeep autodeep
COPY --from=build /opt/autodeep /opt/autodeep
ENV PATH=/opt/autodeep/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /home/autodeep
EXPOSE 6066
STOPSIGNAL SIGTERM
# Ready: Kafka and Redis answer, partitions are assigned, and chunks make progress. Anything but 200 raises.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"AUTODEEP_WEB_PORT\", \"6066\")}/health/ready', timeout=4)"]
ENTRYPOINT ["autodeep"]
CMD ["worker"]
