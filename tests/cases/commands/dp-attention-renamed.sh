python3 -m sglang.launch_server --model-path /m --tp-size 8 --dp-size 2 --enable-dp-attention
