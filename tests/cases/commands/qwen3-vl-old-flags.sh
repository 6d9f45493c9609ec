# Left over from the spring.
python3 -m sglang.launch_server --model-path Qwen/Qwen3-VL-8B-Instruct --keep-mm-feature-on-device \
  --kv-cache-dtype fp4_e2m1 --disable-piecewise-cuda-graph \
  --mm-process-config '{"image": {"max_pixels": 1048576}, "video": {"fps": 2}}'
