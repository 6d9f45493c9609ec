ssh spark-1 "cd /srv && nohup python3 -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --tp-size 2 --nnodes 2 --node-rank 0 --dist-init-addr 10.2.0.1:20000 > server.log 2>&1 &"
ssh spark-2 'python3 -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --tp-size 2 --nnodes 2 --node-rank 1 --dist-init-addr 10.2.0.1:20000'
