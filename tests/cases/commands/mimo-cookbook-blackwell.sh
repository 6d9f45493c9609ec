python3 -m sglang.launch_server --model-path XiaomiMiMo/MiMo-V2.5 --trust-remote-code --tp 4 \
  --moe-runner-backend flashinfer_trtllm --attention-backend fa4 --mm-attention-backend fa4 \
  --mem-fraction-static 0.65 --chunked-prefill-size 16384 --max-running-requests 64 \
  --speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1 \
  --speculative-num-draft-tokens 4 --enable-multi-layer-eagle \
  --reasoning-parser mimo --tool-call-parser mimo --host 127.0.0.1
