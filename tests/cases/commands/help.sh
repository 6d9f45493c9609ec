python3 -m sglang.launch_server --help | grep attention
