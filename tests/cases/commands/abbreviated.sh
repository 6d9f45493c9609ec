python3 -m sglang.launch_server --model-path /m --tp 2 --mem-frac 0.8
