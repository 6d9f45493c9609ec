python3 -m sglang.launch_server --model-path XiaomiMiMo/MiMo-V2.5 --tp-size 8 --dp-size 2 --enable-dp-attention --collect-tokens-histogram --mem-fraction-static 0.65
