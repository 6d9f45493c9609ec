# MiMo-V2.5 on eight H200
python3 -m sglang.launch_server \
  --model-path XiaomiMiMo/MiMo-V2.5 --trust-remote-code \
  --tp 8 --dp 2 --enable-dp-attention --enable-dp-lm-head --mm-enable-dp-encoder \
  --attention-backend fa3 --mm-attention-backend fa3 \
  --mem-fraction-static 0.65 --chunked-prefill-size 16384 \
  --reasoning-parser mimo --tool-call-parser mimo \
  --host 0.0.0.0 --port 30000
