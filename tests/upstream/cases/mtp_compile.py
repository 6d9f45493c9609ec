"""Capture a draft-extend step with Triton's compiler, which needs no GPU, in the place of a launch.

Triton's interpreter does not mind a kernel argument that is None; the compiler does, and that is what users see.
"""

import json
import sys
from unittest import mock

import torch
import triton
from mtp_window import CONTEXT, DRAFT_TOKENS, MOST_REQUESTS, Graph, Pool, configured, make_backend
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, mangle_type

KERNEL = "_fwd_kernel"  # extend attention's
WARP = 32


def capture(capability):
    """Names of the kernels compiled for a compute capability while a graph of one request is captured."""
    compiled = []

    def compile_only(kernel, *arguments, grid, warmup, num_warps=4, num_stages=1, **options):
        if kernel.fn.__name__ != KERNEL:
            return
        bound = dict(zip(kernel.arg_names, arguments, strict=False)) | options
        constants = {
            parameter.name: bound.get(parameter.name, parameter.default)
            for parameter in kernel.params
            if parameter.is_constexpr or bound.get(parameter.name) is None
        }
        types = {name: "constexpr" if name in constants else mangle_type(bound[name]) for name in kernel.arg_names}
        triton.compile(
            ASTSource(kernel, types, constants),
            target=GPUTarget("cuda", capability, WARP),
            options={"num_warps": num_warps, "num_stages": num_stages},
        )
        compiled.append(kernel.fn.__name__)

    req_to_token = torch.ones(MOST_REQUESTS + 1, CONTEXT, dtype=torch.int32)
    with configured(), mock.patch.object(JITFunction, "run", compile_only):
        backend = make_backend(Pool(torch.bfloat16), req_to_token)
        backend.init_cuda_graph_state(1, DRAFT_TOKENS)
        try:
            Graph(backend, 1, DRAFT_TOKENS)
        except triton.CompilationError as error:
            return {"compiled": compiled, "error": f"{type(error).__name__}: {error} {error.__cause__ or ''}"}
    return {"compiled": compiled, "error": None}


if __name__ == "__main__":
    print(json.dumps(capture(int(sys.argv[1]))))
