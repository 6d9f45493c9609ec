python3 -m sglang.launch_server --model-path /m --dist-init-addr "`hostname -i`:20000" --nnodes 2 --node-rank 0 --tp-size 2
