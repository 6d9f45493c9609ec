python3 -m sglang.launch_server --model-path /m -- --tp-size 2
