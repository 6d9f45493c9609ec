python3 -m sglang.launch_server --model-path /m --api-key sk-12345 --host 0.0.0.0
