sglang serve --model-type=diffusion --model-path black-forest-labs/FLUX.1-dev --num-gpus 2
