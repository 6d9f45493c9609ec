bash -c 'export VLLM_HOST_IP=10.0.0.1
python3 -m sglang.launch_server --model-path /m
  --tp-size 2'
