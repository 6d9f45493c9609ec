root@spark-1:~# kubectl exec -it sglang-0 -- python3 -m sglang.launch_server --model-path Qwen/Qwen3-235B-A22B --tp-size 8 --reasoning-parser qwen3 --api-key $API_KEY
