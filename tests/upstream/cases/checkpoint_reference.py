"""What the reference says of a tiny checkpoint, and how it changes with the text and with faults in the model.

``checkpoint_reference.py FOLDER``. Faults are put into the loaded reference: a layer without sinks, other windows,
other rotary bases, fewer experts.
"""

import dataclasses
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import torch

from mimo_gb10.rehearsal.checkpoint.tokenizer import never_generated, token_ids
from mimo_gb10.rehearsal.reference import Reference, compare

PROMPT, COUNT = 400, 64


def changed(reference, change):
    """A view of the reference with each layer as `change(number, layer)` gives it."""
    other = object.__new__(Reference)
    other.__dict__ = {**reference.__dict__, "config": dict(reference.config)}
    other._layers = [change(number, layer) for number, layer in enumerate(reference._layers)]
    return other


def judged(found, expected, tokens):
    """`found` as a server's answer, against `expected`."""
    served = found.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()
    return dataclasses.asdict(compare(expected, tokens, served))


def first_difference(one, other, tolerance=1e-4):
    """The first row at which two tables differ; None if there is none."""
    rows = torch.where((one - other).abs().amax(-1) > tolerance)[0].tolist()
    return rows[0] if rows else None


def text_properties(reference, tokens):
    """Rows at which changing one token shows, as it is and with every layer's window cut to the sliding one."""
    at = 20
    other = [*tokens[:at], (tokens[at] + 1) % 100 + 100, *tokens[at + 1 :]]
    sliding = changed(reference, lambda number, layer: dataclasses.replace(layer, window=16))
    full = (reference.logprobs(tokens) - reference.logprobs(other)).abs().amax(-1)
    cut = (sliding.logprobs(tokens) - sliding.logprobs(other)).abs().amax(-1)
    reach = at + 16 * len(reference._layers)
    return {
        "at": at,
        "before": full[:at].max().item(),
        "after": full[at:].min().item(),
        "cut_within": cut[at:reach].max().item(),
        "cut_beyond": cut[reach + 1 :].max().item(),
    }


def answer(server, reference, prompt):
    """The server's greedy text after a prompt, judged."""
    tokens = server.greedy(prompt, COUNT)
    text = [*prompt, *tokens][:-1]
    found, expected = (model.logprobs(text, [len(prompt)])[-COUNT:] for model in (server, reference))
    return judged(found, expected, tokens)


def faults(reference, prompt):
    """Judgements of servers with one fault each."""

    def with_layers(only=None, **fault):
        def change(number, layer):
            meant = layer.window is not None if only is None else number == only
            return dataclasses.replace(layer, **fault) if meant else layer

        return changed(reference, change)

    unscaled = changed(reference, lambda number, layer: layer)
    unscaled.config["attention_value_scale"] = 1.0
    servers = {
        "no sinks in layer 1": with_layers(1, sinks=None),
        "no sinks in layer 2": with_layers(2, sinks=None),
        "no window in layer 1": with_layers(1, window=None),
        "no window in layer 2": with_layers(2, window=None),
        "window of 64": with_layers(window=64),
        "window in layer 0": with_layers(0, window=128),
        "window in layer 3": with_layers(3, window=128),
        "one rotary base": with_layers(rope_theta=1e7),
        "values not scaled": unscaled,
    }
    return {name: answer(server, reference, prompt) for name, server in servers.items()}


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    never = set(never_generated(token_ids(folder)))
    exact = Reference(folder)
    generator = torch.Generator().manual_seed(9)
    allowed = [token for token in range(exact.config["vocab_size"]) if token not in never]
    prompt = [allowed[i] for i in torch.randint(len(allowed), (PROMPT,), generator=generator).tolist()]
    greedy = exact.greedy(prompt, COUNT)
    tokens = prompt + greedy
    whole = exact.logprobs(tokens[:-1])
    stepwise = exact.logprobs(tokens[:-1], [PROMPT])[-COUNT:]
    double = Reference(folder, dtype="float64").logprobs(tokens[:-1], [PROMPT])[-COUNT:].float()
    rounded = Reference(folder, activations="fp8", kv="fp8", rounding="bf16")
    spread = whole[:, allowed].std(-1).mean().item()
    short = prompt[:100]
    print(json.dumps({
        "finite": all(map(math.isfinite, whole.flatten().tolist())),
        "sums": (whole.exp().sum(-1) - 1).abs().max().item(),
        "spread": spread,
        "never": max(whole[:, sorted(never)].max().item(), -1e9),
        "generated_never": len(never & set(greedy)),
        "different": len(set(greedy)),
        "longest_run": max(len(run) for run in _runs(greedy)),
        "greedy_is_argmax": greedy == stepwise.argmax(-1).tolist(),
        "pieces": first_difference(exact.logprobs(short), exact.logprobs(short, [30, 50, 10])),
        "pieces_fp8": first_difference(
            Reference(folder, kv="fp8").logprobs(short), Reference(folder, kv="fp8").logprobs(short, [30, 70])),
        "double": judged(double, stepwise, greedy),
        "text": text_properties(exact, prompt),
        "rounding": answer(rounded, exact, prompt),
        "faults": faults(exact, prompt),
    }))  # fmt: skip


def _runs(tokens):
    runs = [[tokens[0]]]
    for token in tokens[1:]:
        if token == runs[-1][-1]:
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


if __name__ == "__main__":
    main()
