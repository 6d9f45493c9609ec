CUDA_VISIBLE_DEVICES=0,1,2,3 sglang serve Qwen/Qwen3-Coder-30B-A3B-Instruct \
    --tp 4 --ep-size 4 --tool-call-parser qwen3_coder \
    --context-length 131072 --kv-cache-dtype fp8_e4m3 \
    --served-model-name=coder --enable-metrics
