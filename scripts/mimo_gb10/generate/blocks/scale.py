"""Parts of the page about more nodes: what the rules say of each split, what groups hold, the router."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from mimo_gb10.command.checks import check_launch
from mimo_gb10.command.reader import Lines, find_launches
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, DEFAULT_ROUTER
from mimo_gb10.findings import Finding, Severity
from mimo_gb10.generate.blocks.memory import report
from mimo_gb10.generate.markdown import code, table
from mimo_gb10.generate.prose import block, prose
from mimo_gb10.launch import check
from mimo_gb10.model import Model, load_model
from mimo_gb10.names import with_port
from mimo_gb10.paths import MODELS
from mimo_gb10.plan import COMMAND
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.router import Routed, load_catalog, route, script
from mimo_gb10.rules.multimodal import AudioUnderDpAttention
from mimo_gb10.rules.parallel import FusedQkvAttentionTp
from mimo_gb10.spans import runs, span

GROUPS = ("example-8x-gb10-a", "example-8x-gb10-b")
"""Eight nodes as two groups of four."""

SIZES = (1, 2, 4, 8, 16, 64)
SPLITS: Mapping[str, tuple[int, str, str]] = {
    "one group of four": (4, "--tp 4", "--tp 4"),
    "one group of eight": (8, "--tp 8", "--tp 8"),
    "one group of eight, attention in two halves": (
        8,
        "--tp 8 --dp 2 --enable-dp-attention",
        "--tp 8 --attn-dp-size 2",
    ),
    "two whole copies in one launch": (8, "--tp 4 --dp 2", "--tp 4 --dp 2"),
    "two stages of four": (8, "--tp 4 --pp-size 2", "--tp 4 --pp-size 2"),
    "one group of 64, attention in sixteen parts": (
        64,
        "--tp 64 --dp 16 --enable-dp-attention",
        "--tp 64 --attn-dp-size 16",
    ),
}
"""Ways to split the model: over how many nodes, and the flags in the oldest and in the newest release."""

_GROUP_COUNTS = (1, 2, 16)
_SHOWN = {AudioUnderDpAttention.code}


def findings(split: str, nodes: int, version: str) -> list[Finding]:
    """What ``check_command.py`` says of a launch over GB10 nodes, as far as it is about the split."""
    text = (
        f"{' '.join(COMMAND)} --model-path /models/mimo-v2.5 --trust-remote-code --nnodes {nodes} --node-rank 0 "
        f"--dist-init-addr 192.168.100.10:29500 {split} --mm-attention-backend triton_attn --swa-full-tokens-ratio 0.3"
    )
    (launch,) = find_launches(text)
    found = check_launch(launch, load_release(version), _model(), Lines(text, "launch")).findings
    return [one for one in found if one.severity is Severity.ERROR or one.code in _SHOWN]


@functools.cache
def _model() -> Model:
    return load_model(MODELS / "mimo-v2.5.yaml")


def attention_sizes(version: str) -> tuple[int, ...]:
    """The sizes over which a release lets attention be split for this model."""
    return tuple(
        size
        for size in SIZES
        if FusedQkvAttentionTp.code not in {one.code for one in findings(f"--tp {size}", size, version)}
    )


def _attention() -> str:
    """Sizes of attention by release."""
    rows = [
        [span(some), ", ".join(map(str, sizes)), code(load_release(some[-1]).passages[FusedQkvAttentionTp.code])]
        for sizes, some in runs((attention_sizes(version), version) for version in known_releases())
    ]
    return table(["SGLang", f"Of {', '.join(map(str, SIZES))} ranks, attention takes", "Checked in"], rows)


def _splits() -> str:
    """Each way to split, under the oldest and the newest release."""
    old, new = known_releases()[0], known_releases()[-1]
    rows = []
    for what, (nodes, before, now) in SPLITS.items():
        flags = code(now) if before == now else f"{code(before)}, now {code(now)}"
        rows.append([what, str(nodes), flags, _verdict(before, nodes, old), _verdict(now, nodes, new)])
    return table(["Split", "Nodes", "Flags", old, new], rows)


def _verdict(split: str, nodes: int, version: str) -> str:
    told = [
        f"{one.severity.label} [{code(one.code)}](reference/rules.md#{one.code})"
        for one in findings(split, nodes, version)
    ]
    return "<br>".join(told) or "no error"


def _capacity() -> str:
    """What one, two and sixteen groups hold."""
    context = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    made, nodes = report(), context.recipe.nodes
    low, high = sorted((made.tight.pools.full, made.roomy.pools.full))
    requests = context.number("max-running-requests", 0)
    weights = context.model.facts["weights"]["bytes"] / 1e9
    rows = []
    for groups in _GROUP_COUNTS:
        rows.append(
            [
                str(groups * nodes),
                str(groups),
                str(groups * requests),
                f"{groups} x {low / 1e6:.1f} to {high / 1e6:.1f} million",
                f"{groups} x {weights:.0f} GB",
                "all" if groups == 1 else f"1 of {groups} groups",
            ]
        )
    header = ["Nodes", "Groups", "Requests at once", "Tokens of KV cache (inferred)", "Weights", "A lost node takes"]
    return f'<div class="matrix" markdown>\n\n{table(header, rows)}\n</div>\n'


def routed() -> Routed:
    """The router before the two groups."""
    return route(DEFAULT_ROUTER, DEFAULT_RECIPE, GROUPS)


def _launch() -> str:
    """How each group's files are written, and the router's."""
    start = f".venv/bin/python scripts/gen_launch.py {DEFAULT_RECIPE} --target systemd"
    lines = [f"{start} --cluster {name} --out group-{name[-1]}" for name in GROUPS]
    lines.append(f".venv/bin/python scripts/gen_router.py {' '.join(GROUPS)}")
    return block("\n".join(lines) + "\n", "bash")


def _router() -> str:
    """The router's command."""
    return block(script(routed()), "bash")


def _choices() -> str:
    """Each flag of the router with its reason."""
    router = routed().router
    assert router is not None
    catalog = load_catalog(router.package)
    rows = []
    for name, value in router.flags.items():
        flag = catalog.flags[name]
        shown = "on" if value is True else str(value)
        default = "off" if flag.default is False else "none" if flag.default is None else str(flag.default)
        rows.append([code(name), code(shown), code(default), prose(router.why[name]), code(flag.source)])
    return table(["Flag", "Value", "Default", "Why", "Declared in"], rows)


def _package() -> str:
    """Which release of the router was read."""
    router = routed().router
    assert router is not None
    catalog = load_catalog(router.package)
    return (
        f"Read: `sglang-router` {catalog.version} from PyPI (`{catalog.wheel}`, sha256 `{catalog.sha256}`), "
        f"{len(catalog.flags)} flags. It is a package of its own, not part of `sglang`.\n"
    )


def _update() -> str:
    """How to take the second group out of the router and put it back."""
    made = routed()
    router, second = made.router, made.plans[1]
    assert router is not None
    head = second.ranks[0]
    base = f"http://127.0.0.1:{router.serve_port}"
    url = f"http://{with_port(head.address, int(head.option('--port') or 30000))}"
    lines = [
        f"curl -s {base}/workers   # each group's id and url",
        f"curl -s -X DELETE {base}/workers/ID   # of {url}",
        "# update the group: steps 5, 10 and 11 of the guide, with its own cluster file",
        f".venv/bin/python scripts/smoke_test.py --url {url} --recipe {DEFAULT_RECIPE} --wait 3600",
        f"curl -s {base}/workers -H 'content-type: application/json' -d '{{\"url\": \"{url}\"}}'",
    ]
    return block("\n".join(lines) + "\n", "bash")


BLOCKS: Mapping[str, Callable[[], str]] = {
    "scale-attention": _attention,
    "scale-splits": _splits,
    "scale-capacity": _capacity,
    "scale-launch": _launch,
    "scale-router": _router,
    "scale-choices": _choices,
    "scale-package": _package,
    "scale-update": _update,
}
