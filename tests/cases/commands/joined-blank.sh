python3 -m sglang.launch_server --model-path /m "--served-mod=my model" --tp-size=2
