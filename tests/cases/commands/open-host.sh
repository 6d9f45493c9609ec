python3 -m sglang.launch_server --model-path /m --host 0.0.0.0
