HEAD=${HEAD_IP:-10.0.0.1}
python3 -m sglang.launch_server --model-path $MODEL --tp-size 16 --nnodes 4 \
  --node-rank "$SLURM_PROCID" --dist-init-addr $(hostname -I | awk '{print $1}'):20000 $EXTRA_ARGS
