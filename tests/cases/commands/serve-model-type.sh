sglang serve --model-type llm --model-path Qwen/Qwen3-8B --log-level=debug
