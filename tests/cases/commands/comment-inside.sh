python3 -m sglang.launch_server \
  --model-path /m \
  # two GPUs
  --tp-size 2
