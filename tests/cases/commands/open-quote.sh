python3 -m sglang.launch_server --model-path /m --chat-template 'mine
