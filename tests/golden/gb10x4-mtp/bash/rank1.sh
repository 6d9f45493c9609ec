#!/usr/bin/env bash
# MiMo-V2.5 omni with MTP on four GB10
# Recipe gb10x4-mtp, cluster example-4x-gb10, SGLang 0.5.17.
# Rank 1 of 4, a worker, on 192.168.100.11. Start it before the head, rank 0.
# Once, in this environment: python3 scripts/apply_patches.py transcription-token-list transcription-adapter video-pin-memory video-batch-tensor mtp-triton-window vision-sinks-window audio-causal-window
set -euo pipefail

export SGLANG_HOST_IP=192.168.100.11
export NCCL_SOCKET_IFNAME=enP2p1s0f0np0
export GLOO_SOCKET_IFNAME=enP2p1s0f0np0
export NCCL_IB_HCA=rocep1s0f0,roceP2p1s0f0
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
export TORCH_CUDA_ARCH_LIST=12.1a
export OMP_NUM_THREADS=4
export MKL_NUM_THREADS=4
export NCCL_IGNORE_CPU_AFFINITY=1
export NCCL_CUMEM_ENABLE=0

exec python3 -m sglang.launch_server \
  --model-path /models/mimo-v2.5 \
  --nnodes 4 \
  --node-rank 1 \
  --dist-init-addr 192.168.100.10:29500 \
  --trust-remote-code \
  --tensor-parallel-size 4 \
  --attention-backend triton \
  --mm-attention-backend triton_attn \
  --quantization fp8 \
  --kv-cache-dtype fp8_e4m3 \
  --mem-fraction-static 0.78 \
  --max-running-requests 24 \
  --chunked-prefill-size 8192 \
  --max-prefill-tokens 8192 \
  --swa-full-tokens-ratio 0.3 \
  --speculative-algorithm EAGLE \
  --speculative-num-steps 3 \
  --speculative-eagle-topk 1 \
  --speculative-num-draft-tokens 4 \
  --enable-multi-layer-eagle \
  --reasoning-parser mimo \
  --tool-call-parser mimo \
  --schedule-policy lpm \
  --host 0.0.0.0 \
  --port 30000
