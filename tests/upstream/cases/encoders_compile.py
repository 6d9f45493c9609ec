"""Compile the window kernel of a patched release for a compute capability, which needs no GPU.

Prints how much shared memory a block takes. GB10 has 101376 bytes of it for one.
"""

import json
import sys
from unittest import mock

import torch
import triton
from stand_in_absent import stand_in_for
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, mangle_type

stand_in_for("vllm", "gguf", "torchvision")
from sglang.srt.layers.attention.vision_window import window_attention_fwd  # noqa: E402

WARP = 32


def compiled(capability, window, sinks):
    """Shared memory of the kernel for the tower's heads on one of four ranks."""
    found = []

    def compile_only(kernel, *arguments, grid, warmup, num_warps=4, num_stages=1, **options):
        bound = dict(zip(kernel.arg_names, arguments, strict=False)) | options
        constants = {parameter.name: bound[parameter.name] for parameter in kernel.params if parameter.is_constexpr}
        types = {name: "constexpr" if name in constants else mangle_type(bound[name]) for name in kernel.arg_names}
        made = triton.compile(
            ASTSource(kernel, types, constants),
            target=GPUTarget("cuda", capability, WARP),
            options={"num_warps": num_warps, "num_stages": num_stages},
        )
        found.append(made.metadata.shared)

    q, k, v = (torch.zeros(200, heads, 64, dtype=torch.bfloat16) for heads in (8, 2, 2))
    lengths = torch.tensor([200], dtype=torch.int32)
    with mock.patch.object(JITFunction, "run", compile_only):
        window_attention_fwd(q, k, v, q, lengths - 200, lengths, 200, window_size=window, sinks=sinks)
    (shared,) = found
    return {"shared": shared}


print(json.dumps(compiled(int(sys.argv[1]), (64, 64), torch.zeros(8, dtype=torch.bfloat16))))
