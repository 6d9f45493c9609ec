python3 -m sglang.launch_server --model-path=/models/qwen --tp-size=2 --mem-fraction-static=0.9 --disable-radix-cache
