#!/bin/bash
#SBATCH --nodes=2
srun --ntasks-per-node=1 bash -c 'python3 -m sglang.launch_server --model-path /models/ds --tp-size 16 --nnodes 2 --node-rank $SLURM_PROCID --dist-init-addr $HEAD:20000'
