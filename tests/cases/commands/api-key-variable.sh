python3 -m sglang.launch_server --model-path /m --api-key "$SGLANG_KEY" $EXTRA_ARGS
