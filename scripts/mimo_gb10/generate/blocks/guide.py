"""The bring-up guide: the path in one table, and every command that holds a value of a config."""

from __future__ import annotations

import functools
import ipaddress
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mimo_gb10 import names
from mimo_gb10.cluster import Cluster
from mimo_gb10.commands.gen_launch import start_order_text
from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, TARGETS
from mimo_gb10.generate.markdown import code, table
from mimo_gb10.launch import check
from mimo_gb10.memory.plan import make_plan as plan_memory
from mimo_gb10.memory.report import make_report
from mimo_gb10.memory.setting import setting_of
from mimo_gb10.memory.text import report_text
from mimo_gb10.paths import DOCS, ROOT
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.preflight import check_container, check_fabric, check_reach, check_system, check_weights
from mimo_gb10.preflight.checks import Check
from mimo_gb10.preflight.compare import compare
from mimo_gb10.preflight.load import load_wanted
from mimo_gb10.preflight.node import examine
from mimo_gb10.preflight.recorded import Recorded, load_recording
from mimo_gb10.preflight.remote import Asked
from mimo_gb10.preflight.results import FAIL
from mimo_gb10.preflight.show import results_text
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.report import Paint
from mimo_gb10.rules.pins import FIRST_GOOD_NCCL, can_deadlock
from mimo_gb10.smoke.catalog import ALL_CHECKS as SMOKE_CHECKS
from mimo_gb10.smoke.catalog import AREAS
from mimo_gb10.spans import runs, span
from mimo_gb10.targets import container, docker, launch_files
from mimo_gb10.targets.files import README
from mimo_gb10.text.shell import command_lines, quote

FOLDER = DOCS / "guide"

STEPS = (
    *("hardware", "system", "fabric", "cluster-file", "image", "memory", "rehearse", "weights", "preflight"),
    *("launch", "smoke-test", "service", "upgrade", "go-back"),
)
"""The pages in the order in which a reader takes them."""

MINE = "my-cluster.yaml"
"""What the guide calls the reader's own cluster file."""

GOOD_NCCL = "2.30.7"
"""The NCCL that the guide installs: above the first good one, and the one that SGLang's cookbook asks for on GB10."""

_NCCL = "nvidia-nccl-cu13"
_NODES = ROOT / "tests" / "preflight" / "nodes"
_HEALTHY_LOG = ROOT / "tests" / "diagnose" / "logs" / "healthy" / "written-0.5.11" / "rank0.log"

_FACT = re.compile(r"^- \*\*(Time|Risk|Way back)\*\*: (.+(?:\n  .+)*)", re.MULTILINE)
_TITLE = re.compile(r"^# (\d+)\. (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One page of the guide.

    Attributes:
        slug: The page's file name without its suffix.
        number: Its place on the path, from 1.
        title: Its title without the number.
        facts: Its time, risk and way back, as the page says them.
    """

    slug: str
    number: int
    title: str
    facts: Mapping[str, str]


@functools.cache
def step(slug: str) -> Step:
    """Read a page's title and facts.

    Raises:
        ValueError: If the page lacks one.
    """
    text = (FOLDER / f"{slug}.md").read_text(encoding="utf-8")
    title = _TITLE.search(text)
    facts = {key: " ".join(value.split()) for key, value in _FACT.findall(text)}
    if title is None or set(facts) != {"Time", "Risk", "Way back"}:
        raise ValueError(f"{slug}.md needs '# N. Title' and a line each for Time, Risk and Way back")
    return Step(slug, int(title[1]), title[2], facts)


def _path() -> str:
    rows = [[_link(slug), step(slug).facts["Time"], step(slug).facts["Risk"].partition(";")[0]] for slug in STEPS]
    return table(["Step", "Time", "Risk"], rows)


def _begin() -> str:
    return f"Begin: {_link(STEPS[0])}"


def _next(slug: str) -> str:
    place = STEPS.index(slug)
    if place + 1 == len(STEPS):
        return "This is the last step. Back to [the whole path](index.md)."
    return f"Next: {_link(STEPS[place + 1])}"


def _link(slug: str) -> str:
    one = step(slug)
    return f"[{one.number}. {one.title}]({slug}.md)"


# --- the example


@functools.cache
def _context() -> Context:
    context = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    return context


@functools.cache
def _plan() -> LaunchPlan:
    return check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan()


def _cluster() -> Cluster:
    return _context().cluster


def _interface_of(device: str) -> str:
    """The network interface of an RDMA device, as Linux names both on a GB10."""
    return f"en{device.removeprefix('roce')}np{device[-1]}"


@dataclass(frozen=True)
class Half:
    """One PCIe half of the port on one node: its names, and the address that the guide gives it."""

    interface: str
    device: str
    address: str


def halves(cluster: Cluster, rank: int) -> list[Half]:
    """The halves of a node, the cluster file's own interface first.

    Its address is the file's; each other half gets the same host number in the next /24.
    """
    node = cluster.nodes[rank]
    devices = sorted(node.rdma_devices, key=lambda device: _interface_of(device) != node.socket_interface)
    base = ipaddress.IPv4Address(node.address)
    return [Half(_interface_of(device), device, str(base + (position << 8))) for position, device in enumerate(devices)]


def _unwrapped(text: str) -> str:
    """A table whose names and addresses stay on one line: on a narrow screen it scrolls."""
    return f'<div class="matrix" markdown>\n\n{text}\n</div>\n'


def _shell(text: str) -> str:
    return f"```bash\n{text.rstrip()}\n```\n"


def _plain(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def _names() -> str:
    rows = []
    for device in ("rocep1s0f0", "rocep1s0f1"):
        for half in (device, names.other_half(device) or ""):
            domain = "second" if "P2" in half else "first"
            rows.append([f"port {device[-1]}, {domain} half", code(_interface_of(half)), code(half)])
    return _unwrapped(table(["Where", "Network interface", "RDMA device"], rows))


def _addresses() -> str:
    cluster = _cluster()
    first = halves(cluster, 0)
    rows = [[str(rank), *(code(half.address) for half in halves(cluster, rank))] for rank in range(len(cluster.nodes))]
    return _unwrapped(table(["Rank", *(code(half.interface) for half in first)], rows))


def _netplan() -> str:
    lines = ["network:", "  version: 2", "  ethernets:"]
    for half in halves(_cluster(), 0):
        lines += [f"    {half.interface}:", f"      addresses: [{half.address}/24]", "      dhcp4: false"]
        lines += ["      mtu: 9000"]
    text = "\n".join(lines)
    return f"```yaml\n{text}\n```\n"


def _ping() -> str:
    """A packet of full size to the second node, over each half: 9000 less 28 bytes of headers."""
    mine, other = halves(_cluster(), 0), halves(_cluster(), 1)
    return _shell(
        "\n".join(
            f"ping -M 'do' -s 8972 -c 3 -I {here.interface} {there.address}"
            for here, there in zip(mine, other, strict=True)
        )
    )


def _rdma_test() -> str:
    here = halves(_cluster(), 0)
    servers = "\n".join(f"ib_write_bw -d {half.device} -F --report_gbits -D 5" for half in here)
    clients = "\n".join(f"ib_write_bw -d {half.device} -F --report_gbits -D 5 {half.address}" for half in here)
    return (
        f"On rank 0, one line at a time; each waits for its client:\n\n{_shell(servers)}\n"
        f"On another node:\n\n{_shell(clients)}"
    )


def _nccl_test() -> str:
    cluster = _cluster()
    env = _plan().ranks[0].env
    hosts = ",".join(f"{node.address}:1" for node in cluster.nodes)
    interface = cluster.head.socket_interface
    words = ["mpirun", "-np", str(len(cluster.nodes)), "-H", hosts]
    lines = [" ".join(words)]
    lines += [f"  --mca btl_tcp_if_include {interface} --mca oob_tcp_if_include {interface}"]
    lines += [f"  -x {name}={quote(env[name])}" for name in ("NCCL_SOCKET_IFNAME", "NCCL_IB_HCA")]
    lines += ["  -x NCCL_DEBUG=INFO -x LD_LIBRARY_PATH"]
    lines += ["  ~/nccl-tests/build/all_reduce_perf -b 8 -e 1G -f 2 -g 1"]
    return _shell(" \\\n".join(lines))


def _cluster_commands() -> str:
    return _shell(
        f".venv/bin/python scripts/gen_launch.py --new-cluster {MINE}\n"
        f".venv/bin/python scripts/gen_launch.py {DEFAULT_RECIPE} --cluster {MINE} --check"
    )


def _check_output() -> str:
    found = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).findings
    rows = [[code(one.code), one.message, one.help] for one in found]
    return table(["Finding", "What it says", "What to do"], rows)


# --- image


def _image_build() -> str:
    plan = _plan()
    script = container.prepare(plan)[container.BUILD_SCRIPT]
    return f"{_shell(f'./launch/{container.BUILD_SCRIPT}')}\nThe script is:\n\n{_shell(script)}"


def _image_copy() -> str:
    write = f".venv/bin/python scripts/gen_launch.py {DEFAULT_RECIPE} --cluster {MINE} --target docker --out launch"
    copies = [f"rsync -a --exclude .venv ./ {node.address}:mimo-gb10/" for node in _cluster().nodes[1:]]
    return _shell("\n".join([write, *copies]))


def _image_pull() -> str:
    return _shell(f"docker pull {quote(_plan().image)}")


def _image_nccl() -> str:
    tag = quote(container.image(_plan()))
    return _shell(
        f"docker build --tag {tag} - <<'END'\nFROM {container.image(_plan())}\n"
        f"RUN python3 -m pip install --no-cache-dir {_NCCL}=={GOOD_NCCL}\nEND"
    )


def _image_check() -> str:
    tag = quote(container.image(_plan()))
    inside = "docker run --rm --network none --entrypoint python3 " + tag
    return _shell(
        f"{inside} /opt/mimo-gb10/scripts/apply_patches.py --status\n"
        f"{inside} -m pip show {_NCCL}\n"
        f"{inside} -c 'import torchcodec.decoders'"
    )


def _image_back() -> str:
    return _shell(f"docker image rm {quote(container.image(_plan()))}")


def _nccl_releases() -> str:
    pinned = [(load_release(version).pins().get(_NCCL, ""), version) for version in known_releases()]
    rows = [[span(releases), version, "no" if can_deadlock(version) else "yes"] for version, releases in runs(pinned)]
    return table(["SGLang", "NCCL that its torch requires", f"at least {FIRST_GOOD_NCCL}"], rows)


# --- memory, weights, rehearsal


def _memory() -> str:
    context = _context()
    setting, _ = setting_of(context)
    facts = context.model.facts
    text = report_text(
        make_report(plan_memory(facts, setting, None), facts, context.recipe.title, measured=False, accept_length=None),
        Paint(False),
    )
    parts = [part for part in text.split("\n\n") if part.startswith(("capacity at", "mem-fraction-static"))]
    kept = ["\n".join(line for line in part.split("\n") if not line.strip().startswith("reported:")) for part in parts]
    return _plain("\n\n".join(kept))


def _weights_size() -> str:
    facts = _context().model.facts
    size = facts["weights"]["bytes"]
    return (
        f"The checkpoint is `{facts['repository']}`, revision `{facts['revision']}`: {size / 1e9:.0f} GB "
        f"({size / 2**30:.0f} GiB). Each of the {_context().recipe.nodes} nodes needs all of it on its own disk.\n"
    )


def _weights_get() -> str:
    facts = _context().model.facts
    path = quote(_cluster().model_path)
    return _shell(
        f"hf download {quote(facts['repository'])} \\\n  --revision {facts['revision']} \\\n  --local-dir {path}"
    )


def _weights_copy() -> str:
    path = quote(_cluster().model_path)
    lines = [
        f'ssh {node.address} "mkdir -p {path}"\n'
        f"rsync -a --partial --info=progress2 --exclude .cache {path}/ {node.address}:{path}/"
        for node in _cluster().nodes[1:]
    ]
    return _shell("\n".join(lines))


def _weights_sum() -> str:
    path = quote(_cluster().model_path)
    first = (
        f"(cd {path} && find . -type f -not -path './.cache/*' -print0 | sort -z | xargs -0 sha256sum) > weights.sha256"
    )
    others = "\n".join(
        f'ssh {node.address} "cd {path} && sha256sum --check --quiet -" < weights.sha256'
        for node in _cluster().nodes[1:]
    )
    return _shell(f"{first}\n{others}")


def _space() -> str:
    return _shell(f"df -h {quote(_cluster().model_path)} || df -h /")


def _rehearse() -> str:
    options = [word for word in container.CORE.options() if not word.startswith("--shm-size")]
    run = command_lines(("docker", "run"), ["--rm", "--init", *options])
    return _shell(
        f'{run} \\\n  --mount "type=bind,source=$PWD,target=/mimo-gb10" \\\n  --workdir /mimo-gb10 \\\n'
        f"  {quote(container.image(_plan()))} \\\n"
        f"  python3 scripts/rehearse.py {DEFAULT_RECIPE} --cluster {MINE} --rank N"
    )


# --- preflight

_AREAS: tuple[tuple[str, Sequence[Check]], ...] = (
    ("System", check_system.CHECKS),
    ("Container and image", check_container.CHECKS),
    ("Fabric", check_fabric.CHECKS),
    ("Ports, ways and clocks", check_reach.CHECKS),
    ("Weights", check_weights.CHECKS),
)


def _checks_of(area: Sequence[Check]) -> str:
    return table(["Check", "What it looks at"], [[code(one.id), one.about] for one in area])


def _preflight_checks() -> str:
    parts = [f'??? note "{title}: {len(area)} checks"\n\n{_indented(_checks_of(area))}' for title, area in _AREAS]
    between = ", ".join(code(result.check) for result in compare(_healthy()))
    return "\n".join(parts) + f"\nAnd with `--all`, between the nodes: {between}.\n"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.rstrip("\n").split("\n"))


@functools.cache
def _healthy() -> tuple[Asked, ...]:
    """The four nodes of the tests that are as they should be."""
    wanted, _ = load_wanted(DEFAULT_CLUSTER, DEFAULT_RECIPE, None)
    now = time.time()
    found = []
    for rank in range(len(wanted.nodes)):
        file = _NODES / ("healthy.json" if rank == 0 else f"healthy-{rank}.json")
        report = examine(Recorded(load_recording(str(file)), image_checks=False), wanted, rank)
        found.append(Asked(rank, f"node {rank}", report, None, now, now))
    return tuple(found)


def _result_lines(wanted: Iterable[str]) -> str:
    report = _healthy()[0].report
    assert report is not None
    ids = set(wanted)
    return results_text((one for one in report.results if one.check in ids), Paint(False), brief=False)


def _preflight_fabric() -> str:
    return _plain(_result_lines(one.id for one in check_fabric.CHECKS))


def _preflight_system() -> str:
    return _plain(_result_lines(("gpu-model", "driver", "cuda", "kernel", "pcie-link")))


def _preflight_left() -> str:
    """What is left to mend for the default recipe on nodes that are as they should be."""
    report = _healthy()[0].report
    assert report is not None
    failed = [one for one in report.results if one.status == FAIL]
    return _plain(results_text(failed, Paint(False), brief=True)) if failed else "Nothing is left to mend.\n"


def _preflight_commands() -> str:
    tag = quote(container.image(_plan()))
    return _shell(
        f".venv/bin/python scripts/preflight.py {MINE} --recipe {DEFAULT_RECIPE} --all --problems\n"
        f".venv/bin/python scripts/preflight.py {MINE} --recipe {DEFAULT_RECIPE} --all --problems \\\n"
        f"  --image {tag} --image-checks"
    )


# --- launch and after

_MILESTONES = (
    ("sglang is using nccl==", f"The NCCL that runs. Below {FIRST_GOOD_NCCL}: stop, see step 5."),
    ("Init torch distributed ends.", "All ranks met, and NCCL came up."),
    ("Load weight begin.", "The checkpoint is being read. This is the long part."),
    ("Load weight end.", "This rank is done; its quarter is in memory."),
    ("KV Cache is allocated.", "The room for tokens is known."),
    ("Capture cuda graph end.", "Graphs are there. Cold kernels make this slow the first time."),
    ("max_total_num_tokens=", "How many tokens fit. Compare it with step 6."),
    ("The server is fired up and ready to roll!", "The head answers; go on with step 11."),
)


def milestones(log: str) -> list[tuple[str, str]]:
    """The texts of a good start in the order in which `log` has them.

    Raises:
        ValueError: If the log lacks one: then SGLang says it otherwise, and so must the guide.
    """
    places = [(log.find(text), text, meaning) for text, meaning in _MILESTONES]
    missing = [text for place, text, _ in places if place < 0]
    if missing:
        raise ValueError(f"the log of a good start has no {missing[0]!r}")
    return [(text, meaning) for _, text, meaning in sorted(places)]


def _log() -> str:
    found = milestones(_HEALTHY_LOG.read_text(encoding="utf-8"))
    return table(["The log says", "What it means"], [[code(text), meaning] for text, meaning in found])


def _launch() -> str:
    plan = _plan()
    return _shell(docker.render(plan, plan.ranks[0]))


def _start_order() -> str:
    return _plain(start_order_text(_plan(), container.prepare(_plan())))


def _targets() -> str:
    return table(["Target", "What it writes"], [[code(name), what] for name, what in TARGETS.items()])


def _containers() -> str:
    plan = _plan()
    rows = [[str(rank.rank), code(names.container_name(plan.recipe, rank.rank)), rank.address] for rank in plan.ranks]
    return _unwrapped(table(["Rank", "Container", "Node"], rows))


def _service() -> str:
    """The start of every unit, in order, as the target's own README gives it."""
    readme = next(file.text for file in launch_files("systemd", _plan()) if file.name == README)
    start = readme.partition("## Start\n\n")[2].partition("\n\n## ")[0]
    assert start.startswith("```bash\n"), start
    return start


def _smoke() -> str:
    address = names.with_port(_cluster().head.address, _cluster().serve_port)
    return _shell(
        f".venv/bin/python scripts/smoke_test.py --url http://{address} --recipe {DEFAULT_RECIPE} --wait 3600"
    )


def _smoke_areas() -> str:
    rows = [[area, ", ".join(code(one.name) for one in SMOKE_CHECKS if one.area == area)] for area in AREAS]
    return table(["Area", "Checks"], rows)


def _stop() -> str:
    return _shell(f"docker stop {names.container_name(DEFAULT_RECIPE, 0)}")


def _upgrade() -> str:
    newest = known_releases()[-1]
    return _shell(
        f".venv/bin/python scripts/compare_releases.py {DEFAULT_RECIPE} --cluster {MINE} --to {newest} \\\n"
        "  --write next-recipe.yaml\n"
        f".venv/bin/python scripts/gen_launch.py ./next-recipe.yaml --cluster {MINE} --check"
    )


BLOCKS: Mapping[str, Callable[[], str]] = {
    "guide-path": _path,
    "guide-next-index": _begin,
    **{f"guide-next-{slug}": functools.partial(_next, slug) for slug in STEPS},
    "guide-names": _names,
    "guide-addresses": _addresses,
    "guide-netplan": _netplan,
    "guide-ping": _ping,
    "guide-rdma-test": _rdma_test,
    "guide-nccl-test": _nccl_test,
    "guide-cluster-commands": _cluster_commands,
    "guide-check-output": _check_output,
    "guide-image-pull": _image_pull,
    "guide-image-copy": _image_copy,
    "guide-image-build": _image_build,
    "guide-image-nccl": _image_nccl,
    "guide-image-check": _image_check,
    "guide-image-back": _image_back,
    "guide-nccl-releases": _nccl_releases,
    "guide-memory": _memory,
    "guide-weights-size": _weights_size,
    "guide-weights-get": _weights_get,
    "guide-weights-copy": _weights_copy,
    "guide-weights-sum": _weights_sum,
    "guide-space": _space,
    "guide-rehearse": _rehearse,
    "guide-preflight-checks": _preflight_checks,
    "guide-preflight-commands": _preflight_commands,
    "guide-preflight-fabric": _preflight_fabric,
    "guide-preflight-system": _preflight_system,
    "guide-preflight-left": _preflight_left,
    "guide-launch": _launch,
    "guide-start-order": _start_order,
    "guide-log": _log,
    "guide-targets": _targets,
    "guide-containers": _containers,
    "guide-service": _service,
    "guide-smoke": _smoke,
    "guide-smoke-areas": _smoke_areas,
    "guide-stop": _stop,
    "guide-upgrade": _upgrade,
}
