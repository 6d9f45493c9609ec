docker run --gpus all -e OMP_NUM_THREADS=4 lmsysorg/sglang:v0.5.18 bash -c "python3 -m sglang.launch_server --model-path /models/kimi --tp-size 8 --trust-remote-code"
