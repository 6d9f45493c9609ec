sglang serve Qwen/Qwen3-8B --port 30001 --mem-fraction-static 0.8
