python3 -m sglang.launch_server --model-path /models/qwen \
  --json-model-override-args '{"rope_scaling": {"type": "yarn", "factor": 4.0}}' \
  --chat-template "/templates/it's mine.jinja"
