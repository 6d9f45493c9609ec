docker run --rm --gpus=all --network host --entrypoint python3 lmsysorg/sglang:v0.5.20 \
  -m sglang.launch_server --model-path /models/glm --tp-size 2 --tool-call-parser glm47
