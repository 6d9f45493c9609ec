python3 -m sglang.launch_server --model-path /m --enable-lora --lora-paths a=/l/a '{"lora_name": "b", "lora_path": "/l/b"}' '{"lora_name": "c"}'
