python3 -m sglang.launch_server --model-path /m --tp-size four --mem-fraction-static 80% --max-total-tokens 128kb
