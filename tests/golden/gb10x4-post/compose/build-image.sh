#!/usr/bin/env bash
# MiMo-V2.5 on four GB10, as the post published it
# Recipe gb10x4-post, SGLang 0.5.11: builds the image that the rank scripts run.
# Run it in a checkout of mimo-gb10, or name the checkout: ./build-image.sh DIR. Once on every node.
set -euo pipefail

cd -- "${1:-.}"
exec docker build \
  --build-arg=BASE_IMAGE=lmsysorg/sglang:dev-cu13-mimo-v2.5 \
  '--build-arg=DEFECTS=transcription-token-list audio-encoder-flash-attn transcription-adapter video-pin-memory video-batch-tensor' \
  --tag=mimo-gb10/gb10x4-post:0.5.11-patched \
  --file=docker/Dockerfile \
  .
