python3 -m sglang.launch_server --model-path /m --cuda-graph-bs-decode {1,2,4} --chat-template $'a\tb'
