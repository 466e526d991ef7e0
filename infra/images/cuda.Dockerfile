# syntax=docker/dockerfile:1
# The same for GPU nodes. torch brings its CUDA libraries, so NVIDIA's smallest base is enough; the driver is the node's.
#   docker build -f infra/images/cuda.Dockerfile -t gansweep:cuda .
FROM nvidia/cuda:12.8.1-base-ubuntu24.04 AS python

RUN apt-get update && apt-get install -y --no-install-recommends python3=3.12.* && rm -rf /var/lib/apt/lists/*

FROM python AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv=3.12.* && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/gansweep
COPY constraints.txt ./
RUN /opt/gansweep/bin/pip install -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator orchestrator
COPY trainers trainers
COPY configs configs
# What the head needs beside: google-api-python-client where Ray's launcher starts nodes on Google Cloud.
ARG EXTRA=""
RUN /opt/gansweep/bin/pip install -c constraints.txt '.[cluster,server,gpu]' ${EXTRA:+"$EXTRA"}

FROM python
# For Ray's launcher: it copies files into the container, ray exec --tmux runs there, the head starts others by ssh.
RUN apt-get update \
    && apt-get install -y --no-install-recommends rsync=3.2.* tmux=3.4-* openssh-client=1:9.6* \
    && rm -rf /var/lib/apt/lists/*
# Ubuntu's own user has the id that the other image and the Kubernetes files use.
RUN userdel --remove ubuntu && useradd --uid 1000 --create-home gansweep
COPY --from=build /opt/gansweep /opt/gansweep
COPY constraints.txt /opt/gansweep/
ENV PATH=/opt/gansweep/bin:$PATH RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /home/gansweep
CMD ["gansweep", "--help"]
