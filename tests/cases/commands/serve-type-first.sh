sglang serve --model-type llm Qwen/Qwen3-8B --port 30001
