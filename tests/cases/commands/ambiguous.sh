python3 -m sglang.launch_server --model-path /m --speculative-num 3
