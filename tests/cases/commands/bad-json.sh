python3 -m sglang.launch_server --model-path /m --json-model-override-args '{rope: 1}'
