python3 -m sglang.launch_server --model-path /m --tp-size --port 30000
