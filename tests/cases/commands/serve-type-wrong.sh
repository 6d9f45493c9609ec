sglang serve --model-type vlm Qwen/Qwen3-8B
