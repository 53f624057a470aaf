# syntax=docker/dockerfile:1

FROM python:3.12-slim AS build
# The plain torch of PyPI brings CUDA, several GB of it. Give PyTorch's own index of CPU builds to stay small:
#   docker compose build --build-arg TORCH_INDEX_URL=...
# and the SHA-256 of its file, which the lock cannot know: --build-arg TORCH_SHA256=...
ARG TORCH_INDEX_URL=""
ARG TORCH_SHA256=""
# Locks beside the worker's own: "s3" and "gcs" for models there, "msk" for IAM. A schema registry needs none.
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock ./
COPY requirements requirements
RUN python -m venv /opt/autodeep \
 && requirements/install /opt/autodeep/bin/python $EXTRAS \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY model_store model_store
COPY streams streams
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/autodeep/bin/pip install --no-deps /wheels/*.whl

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
