docker run -d --name mimo --restart unless-stopped \
  --gpus all --network host --ipc host --shm-size 16g --ulimit memlock=-1 \
  --device /dev/infiniband \
  -v /models:/models:ro \
  -e SGLANG_HOST_IP=192.168.100.11 \
  -e "NCCL_SOCKET_IFNAME=enP2p1s0f0np0" --env GLOO_SOCKET_IFNAME=enP2p1s0f0np0 \
  --env=NCCL_IB_HCA=roceP2p1s0f0 \
  lmsysorg/sglang:v0.5.22 \
  python3 -m sglang.launch_server \
    --model-path /models/mimo-v2.5 --trust-remote-code \
    --tp-size 4 --nnodes 4 --node-rank 1 --dist-init-addr 192.168.100.10:29500 \
    --attention-backend triton --moe-runner-backend triton \
    --kv-cache-dtype fp8_e4m3 --mem-fraction-static 0.8 --max-running-requests 16 \
    --reasoning-parser mimo --tool-call-parser mimo
