sudo docker exec -it sgl bash -lc '
  export OMP_NUM_THREADS=8
  python3 -m sglang.launch_server \
    --model-path /models/qwen3-32b \
    --tp-size 2 \
    --schedule-policy lmp
'
