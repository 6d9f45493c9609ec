#!/usr/bin/env bash
# MiMo-V2.5 omni on one host with eight Hopper GPUs
# Recipe hopperx8-omni, cluster example-1x-hopper, SGLang 0.5.15.post1.
# Rank 0 of 1, the only rank, on 192.168.1.20.
# Once, in this environment: python3 scripts/apply_patches.py transcription-token-list transcription-adapter video-pin-memory video-batch-tensor
set -euo pipefail

exec python3 -m sglang.launch_server \
  --model-path /models/mimo-v2.5 \
  --nnodes 1 \
  --node-rank 0 \
  --dist-init-addr 192.168.1.20:29500 \
  --trust-remote-code \
  --tensor-parallel-size 8 \
  --dp-size 2 \
  --enable-dp-attention \
  --enable-dp-lm-head \
  --mm-enable-dp-encoder \
  --attention-backend fa3 \
  --mm-attention-backend fa3 \
  --mem-fraction-static 0.65 \
  --chunked-prefill-size 16384 \
  --swa-full-tokens-ratio 0.3 \
  --reasoning-parser mimo \
  --tool-call-parser mimo \
  --host 0.0.0.0 \
  --port 30000
