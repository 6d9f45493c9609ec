#!/bin/bash
# one node, eight GPUs
export CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7
python -m sglang.launch_server \
  --model-path meta-llama/Llama-3.1-70B-Instruct \
  --tensor-parallel-size 8 \
  --mem-fraction-static 0.85 \
  --context-length 32768 \
  --host 127.0.0.1 --port 8000
