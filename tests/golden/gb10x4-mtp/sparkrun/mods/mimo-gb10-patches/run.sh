#!/usr/bin/env bash
# Puts the recipe's patches on the SGLang of this container; fails unless each of them is on.
set -euo pipefail

case $0 in */*) cd -- "${0%/*}" ;; esac
python3 scripts/apply_patches.py -- transcription-token-list transcription-adapter video-pin-memory video-batch-tensor mtp-triton-window vision-sinks-window audio-causal-window
python3 scripts/apply_patches.py --require -- transcription-token-list transcription-adapter video-pin-memory video-batch-tensor mtp-triton-window vision-sinks-window audio-causal-window
