python3 -m sglang.launch_server --model-path /m --mem-fraction-statik 0.8
