source /opt/venv/bin/activate && SGLANG_LOGGING_CONFIG_PATH=/etc/sglang/log.json timeout 86400 python3 -u -m sglang.launch_server \
  --model deepseek-ai/DeepSeek-V3.2-Exp --tp 8 --dp 8 --enable-dp-attention \
  --tool-call-parser deepseekv32 --reasoning-parser deepseek-v3 --trust-remote-code | tee ds.log
