python3 -m sglang.launch_server --model-path /m --max-total-tokens 128k --chunked-prefill-size -1 --schedule-conservativeness 0.3 --cuda-graph-bs-decode 1 2 4 8
