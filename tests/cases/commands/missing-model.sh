python3 -m sglang.launch_server --tp-size 2
