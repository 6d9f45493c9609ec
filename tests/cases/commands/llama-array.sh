#!/bin/bash
# One server per GPU.
ARGS=(--model-path meta-llama/Llama-3.1-8B-Instruct --mem-fraction-static 0.88)
for gpu in 0 1; do
  CUDA_VISIBLE_DEVICES=$gpu python3 -m sglang.launch_server "${ARGS[@]}" --port $((30000 + gpu)) &
done
wait
