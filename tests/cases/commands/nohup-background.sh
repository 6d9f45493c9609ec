nohup python3 -m sglang.launch_server --model-path /models/qwen --tp-size 2 > server.log 2>&1 &
tail -f server.log
