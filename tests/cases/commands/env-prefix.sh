CUDA_VISIBLE_DEVICES=0 SGLANG_HOST_IP=10.0.0.5 env NCCL_DEBUG=INFO python3 -m sglang.launch_server --model-path /models/qwen --random-seed 7
