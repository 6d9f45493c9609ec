# node 0
python3 -m sglang.launch_server --model-path /m --tp-size 2 --nnodes 2 --node-rank 0 --dist-init-addr 10.0.0.1:20000
# node 1
python3 -m sglang.launch_server --model-path /m --tp-size 2 --nnodes 2 --node-rank 1 --dist-init-addr 10.0.0.1:20000
