python3 -m sglang.launch_server --model-path /m --gpu-memory-utilization 0.9 --max-model-len 4096
