export SGLANG_HOST_IP=192.168.100.10 NCCL_SOCKET_IFNAME=enP2p1s0f0np0 GLOO_SOCKET_IFNAME=enP2p1s0f0np0
export NCCL_IB_HCA=rocep1s0f0,roceP2p1s0f0
python3 -m sglang.launch_server --model-path /models/mimo-v2.5 --tp-size 4 --nnodes 4 --node-rank 0 \
  --dist-init-addr 192.168.100.10:29500 --attention-backend triton --mm-attention-backend triton_attn \
  --speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4 \
  --max-running-requests 24 --swa-full-tokens-ratio 0.3
