"""MiMo's encoders in their real shapes: error against float64, time and peak memory for each input.

Run as ``encoders_measure.py BACKEND --tree FOLDER --expected FOLDER``, on a GPU. FOLDER of ``--tree`` holds the
``sglang/`` to measure and goes before everything else. What float64 gives is kept in the folder of ``--expected``,
since it is the same for every tree of a release. Weights and inputs are random.

BACKEND is a value of ``--mm-attention-backend``. The audio encoder never hands its masks to fa3, so for that backend
its layers call FlashAttention 3 with them here. Prints one JSON object: ``rows``, and ``missing`` with the reason for
what did not run. ``--tiny`` takes the tiny checkpoint's shapes and small inputs, to try the script on a CPU.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import encoder_parts as parts
import torch

SMALL, TINY = 3, 1  # warm-up runs
PICTURES = {
    "image 224x224": [(1, 14, 14)],
    "image 3840x2176": [(1, 136, 240)],
    "clip 640x352, 64 frames": [(32, 22, 40)],
}
"""In patches. A temporal patch is two frames; a picture is one."""
SOUNDS = {"audio 10 s": [1000], "audio 60 s": [6000], "audio 10 min": [6000] * 10}
"""In mel frames, 100 a second. SGLang cuts audio into segments of 6000."""
TINY_PICTURES = {"image 224x224": [(1, 14, 14)]}
TINY_SOUNDS = {"audio 3 s": [300]}


class FlashAttention3(torch.nn.Module):
    """In the place of an audio layer's backend."""

    def __init__(self, window, causal):
        super().__init__()
        self.options = {"window_size": window, "causal": causal}

    def forward(self, q, k, v, cu_seqlens, max_seqlen, **ignored):
        """[tokens, heads, size], as every backend."""
        from sglang.srt.layers.attention import vision

        lengths = {"cu_seqlens_q": cu_seqlens, "cu_seqlens_k": cu_seqlens}
        return vision.flash_attn_varlen_func(
            q, k, v, **lengths, max_seqlen_q=max_seqlen, max_seqlen_k=max_seqlen, **self.options
        )


class Clock:
    """Time and memory of a call, on a GPU or a CPU."""

    def __init__(self, device, runs):
        self.cuda, self.runs = device == "cuda", runs

    def measure(self, call):
        """The last result, the median in milliseconds, and the peak beyond what was there before in MiB."""
        for _ in range(SMALL if self.cuda else TINY):
            result = call()
        before = 0
        if self.cuda:
            torch.cuda.synchronize()
            del result
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        times = []
        for _ in range(self.runs):
            began = time.perf_counter()
            result = call()
            if self.cuda:
                torch.cuda.synchronize()
            times.append((time.perf_counter() - began) * 1e3)
        peak = torch.cuda.max_memory_allocated() - before if self.cuda else 0
        return result, {"ms": statistics.median(times), "ms_least": min(times), "peak_mib": peak / 2**20}


def expected(folder, name, make):
    """What float64 gives, kept in a file."""
    path = folder / f"{name.replace(' ', '-').replace(',', '')}.pt"
    if not path.exists():
        torch.save(make().cpu(), path)
    return torch.load(path)


def row(name, tokens, found, kept, measured, rounding=None):
    result = {"input": name, "tokens": tokens, "error": parts.relative_error(found.cpu(), kept), **measured}
    return result if rounding is None else {**result, "rounding": rounding}


def pictures(shape, inputs, device, clock, folder):
    tower = parts.vision_tower(shape, torch.bfloat16, device)
    for name, grid in inputs.items():
        pixels, sizes = parts.pixels_for(grid).to(device), torch.tensor(grid)
        found, measured = clock.measure(lambda pixels=pixels, sizes=sizes: tower(pixels, sizes))
        make = lambda pixels=pixels, grid=grid: parts.exact_vision(tower, shape, pixels, grid)  # noqa: E731
        yield row(name, len(pixels), found, expected(folder, name, make), measured)


def sounds(shape, inputs, device, clock, folder, backend):
    encoder = parts.audio_encoder(shape, torch.bfloat16, device)
    if backend == "fa3":
        for layer in encoder.layers:
            attention = layer.self_attn
            attention.attn.qkv_backend = FlashAttention3(attention.window_size, attention.causal)
    for name, lengths in inputs.items():
        mels, sizes = parts.mels_for(lengths)
        mels, sizes = mels.to(device), sizes.to(device)
        found, measured = clock.measure(lambda mels=mels, sizes=sizes: parts.hear(encoder, mels, sizes))

        def make(mels=mels, sizes=sizes):
            return parts.exact_audio(shape, torch.float64, device, mels, sizes)

        yield row(name, sum(lengths), found, expected(folder, name, make), measured)


def roundings(vision, audio, device, folder):
    """What bfloat16's own rounding comes to in the smallest inputs: attention in float64, the rest in bfloat16."""
    tower, grid = parts.vision_tower(vision, torch.bfloat16, device), PICTURES["image 224x224"]
    pixels = parts.pixels_for(grid).to(device)
    parts.exact_attention(tower, vision)
    kept = expected(folder, "image 224x224", lambda: parts.exact_vision(tower, vision, pixels, grid))
    found = {"vision": parts.relative_error(tower(pixels, torch.tensor(grid)).cpu(), kept)}
    if audio is not None:
        name, lengths = audio[1]
        mels, sizes = (x.to(device) for x in parts.mels_for(lengths))
        kept = expected(folder, name, lambda: parts.exact_audio(audio[0], torch.float64, device, mels, sizes))
        rounded = parts.exact_audio(audio[0], torch.bfloat16, device, mels, sizes)
        found["audio"] = parts.relative_error(rounded.cpu(), kept)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--expected", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rounding", action="store_true", help="say also what bfloat16's own rounding comes to")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", nargs="*", help="beginnings of the inputs' names")
    options = parser.parse_args()
    if options.tree:
        sys.path.insert(0, str(options.tree.absolute()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        from stand_in_absent import stand_in_for

        stand_in_for("vllm", "gguf", "torchvision")
    options.expected.mkdir(parents=True, exist_ok=True)
    parts.serve(options.backend, device)
    vision, audio = parts.tiny_shapes() if options.tiny else parts.real_shapes()
    looked, heard = (TINY_PICTURES, TINY_SOUNDS) if options.tiny else (PICTURES, SOUNDS)
    if options.only:
        looked, heard = (
            {name: value for name, value in inputs.items() if name.startswith(tuple(options.only))}
            for inputs in (looked, heard)
        )
    clock, rows, missing = Clock(device, options.runs), [], []
    # Up to 0.5.15 the audio encoder does not attend through VisionAttention.
    from sglang.srt.models import mimo_audio

    has_audio = hasattr(mimo_audio, "VisionAttention")
    result = {"rows": rows, "missing": missing}
    with torch.no_grad():
        tasks = [("vision", lambda: pictures(vision, looked, device, clock, options.expected))]
        if has_audio:
            tasks.append(("audio", lambda: sounds(audio, heard, device, clock, options.expected, options.backend)))
        for what, task in tasks:
            try:
                rows.extend({"encoder": what, **one} for one in task())
            except Exception as error:
                missing.append({"encoder": what, "why": f"{type(error).__name__}: {error}"[:300]})
        if options.rounding:
            result["rounding"] = roundings(
                vision, (audio, next(iter(heard.items()))) if has_audio and heard else None, device, options.expected
            )
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        result["gpu"] = {"name": torch.cuda.get_device_name(), "capability": f"{major}.{minor}"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
