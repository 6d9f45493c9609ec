# sglang serve used to be: python -m sglang.bench
sglang serve --model-path /m   # the model
