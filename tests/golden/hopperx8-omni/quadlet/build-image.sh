#!/usr/bin/env bash
# MiMo-V2.5 omni on one host with eight Hopper GPUs
# Recipe hopperx8-omni, SGLang 0.5.15.post1: builds the image that the rank scripts run.
# Run it in a checkout of mimo-gb10, or name the checkout: ./build-image.sh DIR. Once on every node.
set -euo pipefail

cd -- "${1:-.}"
exec podman build \
  --build-arg=BASE_IMAGE=docker.io/lmsysorg/sglang:v0.5.15.post1 \
  '--build-arg=DEFECTS=transcription-token-list transcription-adapter video-pin-memory video-batch-tensor' \
  --tag=mimo-gb10/hopperx8-omni:0.5.15.post1-patched \
  --file=docker/Dockerfile \
  .
