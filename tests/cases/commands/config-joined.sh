python3 -m sglang.launch_server --config=/etc/sglang/server.yaml --model-path /m
