python3 -m sglang.launch_server --model-path Qwen/Qwen3-32B --tp-size 2 --reasoning-parser qwen3 --port 30000
