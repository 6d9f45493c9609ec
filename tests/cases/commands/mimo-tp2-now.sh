python3 -m sglang.launch_server --model-path /m --tp-size 2 --mm-attention-backend triton_attn
