docker run --gpus all --shm-size 32g -p 30000:30000 \
  -v ~/.cache/huggingface:/root/.cache/huggingface \
  -e HF_HUB_OFFLINE=1 --env SGLANG_LOGGING_CONFIG_PATH=/etc/log.json \
  --ipc=host lmsysorg/sglang:v0.5.17-cu130 \
  python3 -m sglang.launch_server --model-path openai/gpt-oss-120b --tp-size 4 --tool-call-parser gpt-oss
