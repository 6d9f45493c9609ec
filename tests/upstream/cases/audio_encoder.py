"""MiMo's audio encoder, imported and run as on GPUs of several capabilities.

Each argument is a scenario WHAT:CAPABILITY:LIBRARY, as in "encode:12.1:absent": what to do (register, calls, attention,
encode), on which GPU ("none": no GPU), and whether sgl_kernel has its FlashAttention library (present, absent). With a
fourth part, as in "encode:12.1:absent:cuda", attention and encode run on that device for real.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import random
import sys
import types
from unittest import mock

import torch
from stand_in_absent import stand_in_for
from stand_in_gpu import flash_attention, gpu

stand_in_for("gguf", "torchvision")
# The rest of SGLang is imported as on a CPU: its other compiled kernels are not what this is about.
import sglang.srt.models.mimo_v2  # noqa: E402, F401
from sglang.srt.models import registry  # noqa: E402

torch.set_num_threads(1)
NAMES = ("mimo_audio", "mimo_v2")
WINDOWS = [(-1, -1), (128, 0), (0, 0), (40, 10), (-1, 7), (7, -1), (128, 128), (5000, 5000)]
LENGTHS = [[1], [1, 1, 2], [1023, 1, 1025], [2100], [129, 128, 130], [0, 5, 0, 3], []]


def reference(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal=False, window_size=(-1, -1)):
    """flash_attn_varlen_func by its definition, dense and in float64, sequence by sequence."""
    left, right = window_size
    output = torch.zeros(q.shape, dtype=torch.float64)
    for begin, end in itertools.pairwise(cu_seqlens_q.tolist()):
        query, key, value = (x[begin:end].double().transpose(0, 1) for x in (q, k, v))
        scores = query @ key.transpose(1, 2) / q.shape[-1] ** 0.5
        i = torch.arange(end - begin).reshape(-1, 1)
        j = torch.arange(end - begin).reshape(1, -1)
        hidden = torch.zeros(end - begin, end - begin, dtype=torch.bool)
        if causal:
            hidden |= j > i
        if left != -1:
            hidden |= j < i - left
        if right != -1:
            hidden |= j > i + right
        output[begin:end] = (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value).transpose(0, 1)
    return output.to(q.dtype)


def relative_error(found, expected):
    if not expected.numel():
        return float(found.numel())
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def packed(lengths, dtype, heads=2, size=16):
    cu_seqlens = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
    q, k, v = (torch.randn(sum(lengths), heads, size).to(dtype) for _ in range(3))
    longest = max(lengths, default=0)
    return q, k, v, cu_seqlens, cu_seqlens, longest, longest


def attention(module):
    """Error of the module's function against float64; leaks between sequences; the largest piece of work."""
    function = module.flash_attn_varlen_func
    draw = random.Random(7)
    drawn = [[draw.randint(1, 900) for _ in range(draw.randint(1, 4))] for _ in range(2)]
    errors = []
    for dtype, lengths in itertools.product((torch.float32, torch.bfloat16), LENGTHS + drawn):
        arguments = packed(lengths, dtype)
        exact = [x.double() for x in arguments[:3]]
        for causal, window in itertools.product((False, True), WINDOWS):
            found = function(*arguments, causal=causal, window_size=window)
            assert found.shape == arguments[0].shape
            assert found.dtype == dtype
            expected = reference(*exact, *arguments[3:], causal=causal, window_size=window)
            errors.append([relative_error(found, expected), str(dtype), lengths, causal, window])
    arguments = packed([700, 1300, 5], torch.float32)
    before = function(*arguments, causal=True, window_size=(128, 0))
    for x in arguments[:3]:
        x[:700] = float("nan")
    after = function(*arguments, causal=True, window_size=(128, 0))
    pieces = {}
    for length in (5000, 40000):
        with mock.patch.object(
            torch.nn.functional, "scaled_dot_product_attention", wraps=torch.nn.functional.scaled_dot_product_attention
        ) as sdpa:
            function(*packed([length], torch.float32, 1, 8), causal=True, window_size=(128, 0))
        pieces[length] = max(call.args[0].shape[-2] * call.args[1].shape[-2] for call in sdpa.call_args_list)
    return {
        "errors": {kind: max(e for e in errors if e[1] == kind) for kind in ("torch.float32", "torch.bfloat16")},
        "compared": len(errors),
        "apart": bool(torch.equal(before[700:], after[700:])) and bool(after[:700].isnan().any()),
        "pieces": pieces,
    }


def tiny_encoder(module):
    torch.manual_seed(3)
    config = module.MiMoAudioTokenizerConfig(
        n_mels=16, d_model=64, encoder_layers=4, encoder_attention_heads=4, encoder_ffn_dim=128,
        encoder_skip_layer_id=2, encoder_causal=True, encoder_attn_window_size=[16, 0],
        hybrid_attention=True, swa_per_block=2, avg_pooler=2, num_quantizers=3, codebook_size=[64],
    )  # fmt: skip
    encoder = module.AudioEncoder(config).eval()
    for layer in encoder.quantizer.vq.layers:
        layer.codebook.normal_()
    return encoder


def encode(module):
    """The whole encoder on three mels of several segments, against itself with attention by definition."""
    encoder = tiny_encoder(module)
    mels = [torch.randn(length, 16) for length in (2500, 700, 61)]
    lengths = torch.tensor([1000, 1000, 500, 700, 61])
    features = torch.cat(mels)

    def hidden(dtype):
        encoder.to(dtype)
        return encoder.encode(features, lengths, use_quantizer=False)[1]

    found = {dtype: hidden(dtype) for dtype in (torch.float32, torch.bfloat16)}
    encoder.float()
    codes = torch.cat(module.tokenize_audio_batch(mels, encoder, segment_size=1000))
    with mock.patch.object(module, "flash_attn_varlen_func", reference):
        rounded = hidden(torch.bfloat16)
        encoder = tiny_encoder(module)
        exact = hidden(torch.float64)
        encoder.float()
        expected = torch.cat(module.tokenize_audio_batch(mels, encoder, segment_size=1000))
    return {
        "frames": len(exact),
        "float32": relative_error(found[torch.float32], exact),
        "bfloat16": relative_error(found[torch.bfloat16], rounded),
        "bfloat16-rounding": relative_error(rounded, exact),
        "codes": list(codes.shape),
        "same codes": (codes == expected).float().mean().item(),
    }


def calls(module, recorded):
    """What the encoder hands to the library, call by call."""
    encoder = tiny_encoder(module)
    torch.manual_seed(5)
    encoder.encode(torch.randn(160, 16), torch.tensor([100, 60]), use_quantizer=False)

    def told(value):
        if not isinstance(value, torch.Tensor):
            return repr(value)
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.detach().numpy().tobytes()).hexdigest()]

    return {
        "library": module.flash_attn_varlen_func is sys.modules["sgl_kernel.flash_attn"].flash_attn_varlen_func,
        "calls": [[[told(x) for x in args], {key: told(x) for key, x in kwargs.items()}] for args, kwargs in recorded],
    }


def register():
    """SGLang's own registry over the two files: the architectures it then knows, and its warnings."""
    warnings = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    registry.logger.addHandler(handler)
    names = [(None, f"sglang.srt.models.{name}", False) for name in NAMES]
    with mock.patch.object(registry, "pkgutil", types.SimpleNamespace(iter_modules=lambda *_: names)):
        registry.import_model_classes.cache_clear()
        known = registry.import_model_classes("sglang.srt.models")
    return {"known": sorted(known), "warnings": warnings}


def run(scenario):
    what, capability, library, *device = scenario.split(":")
    for name in NAMES:
        sys.modules.pop(f"sglang.srt.models.{name}", None)
    if capability == "none":
        import sglang.srt.models.mimo_audio as module

        return encode(module)
    recorded = []

    def kernel(*args, **kwargs):
        recorded.append((args, kwargs))
        return args[2].clone()

    major, minor = map(int, capability.split("."))
    # SGLang believes in the GPU while it imports the files; after that everything runs on the CPU.
    with flash_attention(major, library == "present", kernel):
        with gpu(major, minor):
            if what == "register":
                return register()
            import sglang.srt.models.mimo_audio as module
        if what == "calls":
            return calls(module, recorded)
        with torch.device(device[0]) if device else contextlib.nullcontext():
            return attention(module) if what == "attention" else encode(module)


results = {}
for scenario in sys.argv[1:]:
    try:
        results[scenario] = run(scenario)
    except Exception as error:
        results[scenario] = {"raised": type(error).__name__, "message": str(error)}
print(json.dumps(results))
