python3 -m sglang.launch_server --model-path /m --trust-remote-code true
