sglang serve Qwen/Qwen3-8B --port 30001
