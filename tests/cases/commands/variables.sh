export VLLM_HOST_IP=10.0.0.1
export SGLANG_ENABLE_SPEC_V2=1
export SGLANG_ENABEL_GRPC=1
export SGL_HOST_IP=10.0.0.1
export SGLANG_PORT_RANGE_START=abc
export SGLANG_ENABLE_TORCH_COMPILE=maybe
python3 -m sglang.launch_server --model-path /m
