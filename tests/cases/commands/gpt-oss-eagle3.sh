exec uv run python -m sglang.launch_server --model openai/gpt-oss-20b \
  --speculative-algorithm EAGLE3 --speculative-draft-model-path lmsys/EAGLE3-gpt-oss-20b-bf16 \
  --speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4 \
  --max-running-requests 32 --reasoning-parser gpt-oss --tool-call-parser gpt-oss "$@"
