#!/usr/bin/env bash
# MiMo-V2.5 omni with MTP on four GB10
# Recipe gb10x4-mtp, cluster example-4x-gb10, SGLang 0.5.17.
# Rank 3 of 4, a worker, on 192.168.100.13. Start it before the head, rank 0.
# Once on this node, in a checkout of mimo-gb10:
#   docker build --build-arg=BASE_IMAGE=lmsysorg/sglang:v0.5.17-cu130 '--build-arg=DEFECTS=transcription-token-list transcription-adapter video-pin-memory video-batch-tensor mtp-triton-window vision-sinks-window audio-causal-window' --tag=mimo-gb10/gb10x4-mtp:0.5.17-patched --file=docker/Dockerfile .
set -euo pipefail

exec docker run \
  --rm \
  --init \
  --name=gb10x4-mtp-rank3 \
  --network=host \
  --ipc=host \
  --gpus=all \
  --ulimit=memlock=-1 \
  --ulimit=stack=67108864 \
  --cap-add=IPC_LOCK \
  --device=/dev/infiniband \
  --shm-size=32g \
  --mount=type=bind,source=/models/mimo-v2.5,target=/models/mimo-v2.5,readonly \
  --env=SGLANG_HOST_IP=192.168.100.13 \
  --env=NCCL_SOCKET_IFNAME=enP2p1s0f0np0 \
  --env=GLOO_SOCKET_IFNAME=enP2p1s0f0np0 \
  --env=NCCL_IB_HCA=rocep1s0f0,roceP2p1s0f0 \
  --env=PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True \
  --env=TORCH_CUDA_ARCH_LIST=12.1a \
  --env=OMP_NUM_THREADS=4 \
  --env=MKL_NUM_THREADS=4 \
  --env=NCCL_IGNORE_CPU_AFFINITY=1 \
  --env=NCCL_CUMEM_ENABLE=0 \
  mimo-gb10/gb10x4-mtp:0.5.17-patched \
  python3 -m sglang.launch_server \
    --model-path /models/mimo-v2.5 \
    --nnodes 4 \
    --node-rank 3 \
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
