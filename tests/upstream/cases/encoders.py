"""MiMo's encoders of a release on a CPU, compared with what they compute in float64.

Run as ``encoders.py BACKEND SCENARIO...`` with TRITON_INTERPRET=1. With ``--mutate MODULE OLD NEW`` that module is
another one: with this text for that. Scenarios:

- ``vision:SHAPE:DTYPE``, ``audio:SHAPE:DTYPE``: the relative error of an encoder's embeddings. SHAPE is tiny (the
  rehearsal's checkpoint) or heads (the real heads, few layers). For bfloat16 also what its rounding alone comes to.
- ``kernel``: the window kernel by itself, over lengths, windows, and with and without sinks.
- ``others``: what attention without a window and sinks runs on, and the sources of the other backends.

Triton's interpreter cannot multiply bfloat16, so the backend triton_attn computes such tensors in float32 here.
"""

import argparse
import hashlib
import importlib.util
import inspect
import itertools
import json
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

warnings.filterwarnings("ignore")
import encoder_parts as parts  # noqa: E402
import torch  # noqa: E402
from stand_in_absent import stand_in_for  # noqa: E402

stand_in_for("vllm", "gguf", "torchvision")
torch.set_num_threads(1)

GRID = [(2, 8, 12), (1, 14, 18)]
"""A clip of two temporal patches and a picture; no length is a multiple of a block."""
MELS = [460, 460, 310, 61]
KERNEL_LENGTHS = ([1], [300], [0, 5, 0, 130], [1, 63, 64, 65, 128])
KERNEL_WINDOWS = ((64, 64), (128, 0), (0, 7), (-1, 3), (-1, -1))


def mutate(name, old, new):
    """Put another source in the place of a module before anybody imports it."""
    source = Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{old!r} is in {name} {source.count(old)} times"
    path = Path(tempfile.mkdtemp()) / f"{name.rpartition('.')[2]}.py"
    path.write_text(source.replace(old, new), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def without_bfloat16(backend):
    """A forward of VisionTritonAttention that Triton's interpreter can do."""
    forward = backend.forward

    def wide(self, q, k, v, *arguments, **options):
        if q.dtype != torch.bfloat16:
            return forward(self, q, k, v, *arguments, **options)
        found = forward(self, q.float(), k.float(), v.float(), *arguments, **options)
        return found.to(q.dtype)

    return mock.patch.object(backend, "forward", wide)


def vision_shape(name):
    tiny, real = parts.tiny_shapes()[0], parts.real_shapes()[0]
    few = {"depth": 4, "fullatt_block_indexes": [0, 3], "vit_window_attn_types": [-1, 0, 1, -1]}
    return tiny if name == "tiny" else real | few | {"hidden_size": 128, "intermediate_size": 256}


def audio_shape(name):
    tiny, real = parts.tiny_shapes()[1], parts.real_shapes()[1]
    return tiny if name == "tiny" else real | {"encoder_layers": 4, "encoder_ffn_dim": 512}


def vision(name, dtype):
    shape, pixels = vision_shape(name), parts.pixels_for(GRID)
    expected = parts.exact_vision(parts.vision_tower(shape, torch.float64, "cpu"), shape, pixels, GRID)
    tower = parts.vision_tower(shape, dtype, "cpu")
    result = {"rows": len(expected), "error": parts.relative_error(tower(pixels, torch.tensor(GRID)), expected)}
    if dtype == torch.bfloat16:
        parts.exact_attention(tower, shape)
        result["rounding"] = parts.relative_error(tower(pixels, torch.tensor(GRID)), expected)
    return result


def audio(name, dtype):
    shape, mels = audio_shape(name), parts.mels_for(MELS)
    expected = parts.exact_audio(shape, torch.float64, "cpu", *mels)
    found = parts.hear(parts.audio_encoder(shape, dtype, "cpu"), *mels)
    result = {"rows": len(expected), "error": parts.relative_error(found, expected)}
    if dtype == torch.bfloat16:
        rounded = parts.exact_audio(shape, dtype, "cpu", *mels)
        result["rounding"] = parts.relative_error(rounded, expected)
    return result


def kernel():
    from sglang.srt.layers.attention.vision_window import window_attention_fwd

    errors = []
    for dtype, lengths in itertools.product((torch.float32, torch.float16), KERNEL_LENGTHS):
        for window, with_sinks in itertools.product(KERNEL_WINDOWS, (True, False)):
            cu_seqlens = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
            # As a projection leaves them: views with a stride over tokens.
            heads = torch.randn(sum(lengths), 8, 24).to(dtype)
            q, k, v = heads[:, :4], heads[:, 4:6], heads[:, 6:]
            sinks = torch.randn(4).mul(2).bfloat16() if with_sinks else None
            found = torch.empty(q.shape, dtype=dtype)
            window_attention_fwd(
                q, k, v, found, cu_seqlens[:-1], cu_seqlens[1:] - cu_seqlens[:-1], max(lengths),
                window_size=window, sinks=sinks,
            )  # fmt: skip
            expected = parts.attend(q, k, v, cu_seqlens, *window, sinks)
            errors.append((str(dtype), parts.relative_error(found, expected)))
    kinds = ("torch.float32", "torch.float16")
    return {"compared": len(errors), "worst": {kind: max(e for dtype, e in errors if dtype == kind) for kind in kinds}}


def others():
    from sglang.srt.layers.attention import vision as module

    def told(name):
        return hashlib.sha256(inspect.getsource(module.QKV_BACKEND_IMPL[name]).encode()).hexdigest()

    called = []
    heads = torch.randn(3, 10, 4, 16)
    # The kernel that every other model uses.
    noted = mock.patch.object(module, "context_attention_fwd", lambda *a, **options: called.append(sorted(options)))
    with noted:
        backend = module.VisionTritonAttention()
        cu_seqlens = torch.tensor([0, 10], dtype=torch.int32)
        backend.forward(*heads, cu_seqlens=cu_seqlens, bsz=1, seq_len=10, window_size=(-1, -1), s_aux=None)
        backend.forward(*heads, cu_seqlens=cu_seqlens, bsz=1, seq_len=10)
    return {
        "called": called,
        "sources": {name: told(name) for name in module.QKV_BACKEND_IMPL if name != "triton_attn"},
    }


def run(scenario):
    what, *more = scenario.split(":")
    if what in ("kernel", "others"):
        return globals()[what]()
    return globals()[what](more[0], getattr(torch, more[1]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("scenarios", nargs="+")
    parser.add_argument("--mutate", nargs=3, action="append", default=[])
    options = parser.parse_args()
    for mutation in options.mutate:
        mutate(*mutation)
    parts.serve(options.backend, "cpu")
    from sglang.srt.layers.attention import vision as module

    torch.manual_seed(0)
    with torch.no_grad(), without_bfloat16(module.VisionTritonAttention):
        print(json.dumps({scenario: run(scenario) for scenario in options.scenarios}))


if __name__ == "__main__":
    main()
