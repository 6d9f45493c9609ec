#!/usr/bin/env bash
set -euo pipefail

: "${NODE_RANK:?which node is this}"
HEAD_IP=${HEAD_IP:-10.1.0.1}
export GLOO_SOCKET_IFNAME=${IFNAME:-eth0} NCCL_SOCKET_IFNAME=${IFNAME:-eth0}

cd /srv && python3 -m sglang.launch_server \
  --model-path moonshotai/Kimi-K2-Instruct \
  --served-model-name kimi-k2 \
  --trust-remote-code \
  --tp 16 \
  --dist-init-addr "${HEAD_IP}:5000" \
  --nnodes ${NNODES:-2} --node-rank $NODE_RANK \
  --tool-call-parser kimi_k2 \
  2>&1 | tee "kimi-$NODE_RANK.log"
