# syntax=docker/dockerfile:1
# Driver, head, workers and the MLflow server of a cluster without GPUs: one image, so that versions can't differ.
#   docker build -f infra/images/cpu.Dockerfile --build-arg TORCH_INDEX=… -t gansweep:cpu .
FROM python:3.11-slim-bookworm AS build

# The index of PyTorch's CPU builds; left empty, torch comes with CUDA, and the image is four times as large.
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python -m venv /opt/gansweep
COPY constraints.txt ./
RUN /opt/gansweep/bin/pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator orchestrator
COPY trainers trainers
COPY configs configs
RUN /opt/gansweep/bin/pip install -c constraints.txt '.[cluster,server]'

FROM python:3.11-slim-bookworm
RUN useradd --uid 1000 --create-home gansweep
COPY --from=build /opt/gansweep /opt/gansweep
COPY constraints.txt /opt/gansweep/
ENV PATH=/opt/gansweep/bin:$PATH RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
USER 1000
WORKDIR /home/gansweep
CMD ["gansweep", "--help"]
