python3 -m sglang.launch_server --model-path /m --attention-backend flashatention --schedule-policy lmp
