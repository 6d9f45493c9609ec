python3 -m sglang.launch_server --model-path /m --cuda-graph-max-bs 16 --disable-cuda-graph
