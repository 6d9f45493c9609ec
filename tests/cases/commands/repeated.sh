python3 -m sglang.launch_server --model-path /m --port 30000 --tp-size 2 --port 30001
