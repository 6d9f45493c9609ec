python3 -m sglang.launch_server --model-path XiaomiMiMo/MiMo-V2.5 --tp-size 8 --trust-remote-code
