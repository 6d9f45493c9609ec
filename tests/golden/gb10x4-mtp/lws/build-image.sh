#!/usr/bin/env bash
# MiMo-V2.5 omni with MTP on four GB10
# Recipe gb10x4-mtp, SGLang 0.5.17: builds the image that the rank scripts run.
# Run it in a checkout of mimo-gb10, or name the checkout: ./build-image.sh DIR. Once on every node.
set -euo pipefail

cd -- "${1:-.}"
exec docker build \
  --build-arg=BASE_IMAGE=lmsysorg/sglang:v0.5.17-cu130 \
  '--build-arg=DEFECTS=transcription-token-list transcription-adapter video-pin-memory video-batch-tensor mtp-triton-window vision-sinks-window audio-causal-window' \
  --tag=mimo-gb10/gb10x4-mtp:0.5.17-patched \
  --file=docker/Dockerfile \
  .
