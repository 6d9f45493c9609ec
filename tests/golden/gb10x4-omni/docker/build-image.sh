#!/usr/bin/env bash
# MiMo-V2.5 omni on four GB10
# Recipe gb10x4-omni, SGLang 0.5.11: builds the image that the rank scripts run.
# Run it in a checkout of mimo-gb10, or name the checkout: ./build-image.sh DIR. Once on every node.
set -euo pipefail

cd -- "${1:-.}"
exec docker build \
  --build-arg=BASE_IMAGE=lmsysorg/sglang:v0.5.11-cu130@sha256:061fb71f838e82000a1768c159654d526c2f17ebe751c21e7fc48ca53c8ef975 \
  '--build-arg=DEFECTS=transcription-token-list audio-encoder-flash-attn transcription-adapter video-pin-memory video-batch-tensor vision-sinks-window' \
  --tag=mimo-gb10/gb10x4-omni:0.5.11-patched \
  --file=docker/Dockerfile \
  .
