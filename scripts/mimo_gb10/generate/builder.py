"""The launch builder's data: what the targets print, with places left open for a reader's cluster.

The real targets render the real plan of a cluster whose values are marks. What stands around the marks is then read
back: which quoted word a mark is in, and what was done to it on the way. The page's script only fills the places in, so
it knows nothing of targets, recipes or flags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimo_gb10.cluster import Cluster, Node, load_cluster
from mimo_gb10.commands.gen_launch import start_order_text
from mimo_gb10.compare import moved_recipe
from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, SCRIPT_TARGETS, TARGETS
from mimo_gb10.files import Output
from mimo_gb10.findings import Finding, Severity, has_errors
from mimo_gb10.flag_checks import check_cluster_text
from mimo_gb10.launch import find_document, make_context, recipes, run_checks
from mimo_gb10.paths import CLUSTERS, ROOT, SCHEMAS
from mimo_gb10.plan import make_plan
from mimo_gb10.recipe import Recipe
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.rules.base import Rule
from mimo_gb10.rules.network import Addresses, GrpcPort, PortClash
from mimo_gb10.rules.parallel import TensorParallelFillsCluster
from mimo_gb10.schema import load_schema
from mimo_gb10.targets import file_name, preparations, renderer

FOLDER = "docs/assets/builder"
FILE = "launches.json"

# Private-use characters: no shell takes them bare, so each word with a mark in it is quoted, and none is in a config.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(_OPEN + r'(?P<key>[a-z_]+)(?:=(?P<node>\d+)(?P<end>[ab])?)?[:,"]*' + _CLOSE)

# A shell word as shlex.quote writes one that needs quotes.
_QUOTED = re.compile(r"""'((?:[^']|'"'"')*)'""")
_CSV_FIELD = re.compile(rf'"([^"{_CLOSE}]*{_OPEN}[a-z_]+,""{_CLOSE}[^"]*)"')
_ENDPOINTS = (
    re.compile(rf"\[({_OPEN}address=\d+:{_CLOSE})\]:({_OPEN}[a-z_]+{_CLOSE})"),
    re.compile(rf"({_OPEN}address=\d+{_CLOSE}):({_OPEN}[a-z_]+{_CLOSE})"),
)
_DEVICES = re.compile(rf"{_OPEN}rdma_devices=(\d+)a{_CLOSE}(.*?){_OPEN}rdma_devices=\1b{_CLOSE}")

# Their patterns and checks leave printable ASCII only, so escaping for a comment changes nothing in them.
_PLAIN_IN_COMMENTS = ("name", "address", "serve_host", "rendezvous_port", "serve_port", "socket_interface")
# These can begin with a dash, and a dash decides how an option's value is written.
_MAY_BEGIN_WITH_DASH = ("socket_interface", "rdma_devices")

Part = str | dict[str, Any]
"""Literal text; ``{"v": key, "n": node}`` for a value; ``{"csv": parts}``; ``{"endpoint": [address, port]}``."""

Line = str | list[Part]
"""Literal text, or parts, among them ``{"q": parts}``: one shell word, quoted after its values are in."""


class _MarkedPort(int):
    """A port that prints as a mark."""

    def __new__(cls, key: str) -> _MarkedPort:
        port = super().__new__(cls, 1)
        port.key = key
        return port

    key: str

    def __str__(self) -> str:
        return _mark(self.key)


def _mark(key: str, node: int | None = None, end: str = "") -> str:
    return f"{_OPEN}{key}{'' if node is None else f'={node}'}{end}{_CLOSE}"


def marked_cluster(example: Cluster, nodes: int, *, colons: bool) -> Cluster:
    """A cluster of marks.

    Args:
        example: A cluster to change.
        nodes: How many nodes.
        colons: Whether addresses hold a colon, as those of IPv6 do.
    """
    return replace(
        example,
        name=_mark("name"),
        model_path=_mark("model_path", end=',"'),
        rendezvous_port=_MarkedPort("rendezvous_port"),
        serve_host=_mark("serve_host"),
        serve_port=_MarkedPort("serve_port"),
        nodes=tuple(
            Node(
                address=_mark("address", node, ":" if colons else ""),
                socket_interface=_mark("socket_interface", node),
                rdma_devices=(_mark("rdma_devices", node, "a"), _mark("rdma_devices", node, "b")),
            )
            for node in range(nodes)
        ),
    )


def template(text: str, *, shell: bool, colons: bool) -> list[Line]:
    """A rendered text, line by line, with its marks as open places.

    Args:
        text: What a target printed of a cluster of marks.
        shell: Whether it is a script; if not, nothing in it is quoted.
        colons: Whether the marks of addresses hold a colon.

    Raises:
        ValueError: If a mark stands where the builder could not fill in a value faithfully.
    """
    return [_line(line, shell=shell, colons=colons) for line in text.split("\n")]


def _line(line: str, *, shell: bool, colons: bool) -> Line:
    if shell and line.startswith("#"):
        return _comment(line, colons=colons)
    if not shell:
        return _parts(line, colons=colons) if _OPEN in line else line
    found: list[Part] = []
    rest = 0
    for word in _QUOTED.finditer(line):
        if _OPEN not in word[0]:
            continue
        parts = _parts(word[1].replace("'\"'\"'", "'"), colons=colons)
        before = line[rest : word.start()]
        if before.endswith(" ") and _begins_with(parts, _MAY_BEGIN_WITH_DASH):
            raise ValueError(f"a word begins with a value that may begin with a dash: {line!r}")
        found += [*([before] if before else []), {"q": parts}]
        rest = word.end()
    if _OPEN in line[rest:] or any(_OPEN in part for part in found if isinstance(part, str)):
        raise ValueError(f"a value of the cluster stands unquoted in a script: {line!r}")
    if not found:
        return line
    return [*found, *([line[rest:]] if line[rest:] else [])]


def _begins_with(parts: Sequence[Part], keys: Sequence[str]) -> bool:
    return isinstance(parts[0], dict) and parts[0].get("v") in keys


def _comment(line: str, *, colons: bool) -> Line:
    # A comment shows what is not printable escaped, and marks are not printable.
    marked = line.replace(ascii(_OPEN)[1:-1], _OPEN).replace(ascii(_CLOSE)[1:-1], _CLOSE)
    if _OPEN not in marked:
        return line
    if "'" in marked or any(mark["key"] not in _PLAIN_IN_COMMENTS for mark in _MARK.finditer(marked)):
        raise ValueError(f"a comment holds a value that it might have to escape: {marked!r}")
    return _parts(marked, colons=colons)


def _parts(text: str, *, colons: bool) -> list[Part]:
    """Text with marks, and with what was done to them, as parts."""
    found: list[Part] = []
    rest = 0
    for match, part in _places(text, colons=colons):
        if match.start() < rest:
            continue
        found += [text[rest : match.start()]] if match.start() > rest else []
        found.append(part)
        rest = match.end()
    found += [text[rest:]] if text[rest:] else []
    if any(_OPEN in part for part in found if isinstance(part, str)):
        raise ValueError(f"a mark was changed on the way: {text!r}")
    return found


def _places(text: str, *, colons: bool) -> Iterator[tuple[re.Match[str], Part]]:
    """Open places in order; of two that begin at one place the larger first."""
    found: list[tuple[re.Match[str], Part]] = []
    for match in _CSV_FIELD.finditer(text):
        found.append((match, {"csv": _parts(match[1].replace('""', '"'), colons=colons)}))
    for match in _ENDPOINTS[0 if colons else 1].finditer(text):
        address, port = (_value(mark) for mark in (_MARK.match(match[1]), _MARK.match(match[2])) if mark)
        found.append((match, {"endpoint": [address, port]}))
    for match in _DEVICES.finditer(text):
        found.append((match, {"v": "rdma_devices", "n": int(match[1]), "by": match[2]}))
    for match in _MARK.finditer(text):
        if '""' not in match[0] and not match["end"]:
            found.append((match, _value(match)))
    return iter(sorted(found, key=lambda place: (place[0].start(), -place[0].end())))


def _value(mark: re.Match[str]) -> dict[str, Any]:
    return {"v": mark["key"]} if mark["node"] is None else {"v": mark["key"], "n": int(mark["node"])}


@dataclass(frozen=True, slots=True)
class Choice:
    """One recipe for one release.

    Attributes:
        recipe: The recipe, as it reads for that release.
        own: Whether it is the release that the recipe's file names.
        context: It on a cluster of its size.
        findings: What the checks say of it there.
    """

    recipe: Recipe
    own: bool
    context: Context
    findings: tuple[Finding, ...]


def choices() -> list[Choice]:
    """What the builder offers: every recipe, also for each other release where nothing is left to do by hand."""
    found = []
    for recipe in recipes():
        for version in known_releases():
            own = version == recipe.sglang
            moved, notes = recipe, [""]
            if not own:
                moved, notes = moved_recipe(recipe, load_release(recipe.sglang), load_release(version))
            context = make_context(moved, cluster_of(recipe.nodes))
            findings = tuple(run_checks(context))
            # The one note that there always is says to read the reasons again.
            if not has_errors(findings) and len(notes) == 1:
                found.append(Choice(moved, own, context, findings))
    return found


def cluster_of(nodes: int) -> Cluster:
    """The example cluster, with as many nodes as are asked for."""
    document = find_document(DEFAULT_CLUSTER, CLUSTERS, "cluster")
    given = document.value["nodes"]
    # Addresses kept for documentation (RFC 5737) stand in for nodes that the example does not have.
    more = [{"address": f"192.0.2.{node + 1}"} for node in range(len(given), nodes)]
    return load_cluster(document.with_override(("nodes",), [*given, *more][:nodes], DEFAULT_CLUSTER))


def files_of(choice: Choice, target: str) -> dict[str, list[Line]]:
    """The template of each file that ``gen_launch.py --out`` writes, in the order in which they are used.

    Raises:
        ValueError: If a target does something to a value that the builder cannot do.
    """
    made: list[dict[str, list[Line]]] = []
    for colons in (True, False):
        cluster = marked_cluster(choice.context.cluster, choice.recipe.nodes, colons=colons)
        plan = make_plan(replace(choice.context, cluster=cluster))
        render, prepared = renderer(target), preparations(target, plan)
        scripts = {**prepared, **{file_name(rank): render(plan, rank) for rank in plan.ranks}}
        texts = {name: template(text, shell=True, colons=colons) for name, text in scripts.items()}
        texts["start-order.txt"] = template(start_order_text(plan, prepared), shell=False, colons=colons)
        made.append(texts)
    if made[0] != made[1]:
        raise ValueError(f"{target} writes an address with colons in a way that the builder does not know")
    return made[0]


def limits(choice: Choice) -> dict[str, Any]:
    """What the rules ask of ports and GPUs, found by asking the rules themselves.

    The result has a lowest or highest value by path, and by distance from the rendezvous port what the serving port
    may not be.
    """
    context = choice.context
    ports: Sequence[Rule] = (PortClash(), GrpcPort())

    def refused(rules: Sequence[Rule], **changes: Any) -> Finding | None:
        changed = replace(context, cluster=replace(context.cluster, **changes))
        for_release = [rule for rule in rules if rule.applies_to(context.release.version)]
        found = (finding for rule in for_release for finding in rule.check(changed))
        return next((finding for finding in found if finding.severity is Severity.ERROR), None)

    bounds: dict[str, Any] = {}
    for path, field, other in (
        ("rendezvous.port", "rendezvous_port", "serve_port"),
        ("serve.port", "serve_port", "rendezvous_port"),
    ):
        if finding := refused(ports, **{field: 65535, other: 1}):
            # No launch takes that many ports above one, so 2048 is free of a clash with port 1.
            low, high = 2048, 65535
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if refused(ports, **{field: middle, other: 1}) else (middle, high)
            bounds[path] = {"maximum": low, "help": finding.help}
    fits = [gpus for gpus in range(1, 65) if not refused((TensorParallelFillsCluster(),), gpus_per_node=gpus)]
    if fits[0] > 1 and (finding := refused((TensorParallelFillsCluster(),), gpus_per_node=1)):
        bounds["gpus_per_node"] = {"minimum": fits[0], "help": finding.message}
    clashes = {}
    for distance in range(-64, 65):
        finding = refused(ports, rendezvous_port=20000, serve_port=20000 + distance)
        if finding:
            what = finding.message.partition(f"{20000 + distance} ")[2]
            clashes[str(distance)] = f"{what[:1].upper()}{what[1:]}. {finding.help}"
    return {"bounds": bounds, "clashes": clashes}


def helps(context: Context) -> dict[str, str]:
    """What to do about a value that only the rules refuse, in their own words."""
    cluster = context.cluster
    first, second = cluster.nodes[:2]
    wrong = replace(cluster, nodes=(replace(first, address="no address"), second, second), serve_host="no host")
    said = [finding.help for finding in Addresses().check(replace(context, cluster=wrong))]
    control = replace(cluster, model_path="/\n")
    said += [finding.help for finding in check_cluster_text(replace(context, cluster=control))]
    return dict(zip(("address", "repeated", "serve_host", "control"), said, strict=True))


_KEYWORDS = {
    "type": "type", "pattern": "pattern", "minLength": "minLength", "minItems": "minItems", "minimum": "minimum",
    "maximum": "maximum", "uniqueItems": "uniqueItems", "description": "description", "x-help": "help",
    "default": "default",
}  # fmt: skip


def fields() -> dict[str, dict[str, Any]]:
    """Every value of the cluster schema by its path, with the keywords that constrain it; ``*`` is any node."""
    return dict(_fields(load_schema("cluster"), ()))


def _fields(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in schema:
        schema = load_schema("cluster")["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from _fields(inner, (*path, name))
    elif schema.get("items", {}).get("properties"):
        yield from _fields(schema["items"], (*path, "*"))
    else:
        field = {ours: schema[keyword] for keyword, ours in _KEYWORDS.items() if keyword in schema}
        if "items" in schema:
            field["items"] = {
                ours: schema["items"][name] for name, ours in _KEYWORDS.items() if name in schema["items"]
            }
        yield ".".join(path), field


def make() -> Mapping[str, Output]:
    """The data file."""
    numbers: dict[str, int] = {}
    offered = []
    found = choices()
    for choice in found:
        targets = {
            target: {
                name: [numbers.setdefault(_compact(line), len(numbers)) for line in lines]
                for name, lines in files_of(choice, target).items()
            }
            for target in SCRIPT_TARGETS
        }
        offered.append({**_about(choice), **limits(choice), "targets": targets})
    default = next(choice.context for choice in found if choice.own and choice.recipe.name == DEFAULT_RECIPE)
    example = find_document(DEFAULT_CLUSTER, CLUSTERS, "cluster").value
    data = {
        "schema": str((SCHEMAS / "cluster.schema.json").relative_to(ROOT)),
        "recipe": DEFAULT_RECIPE,
        "targets": {target: TARGETS[target] for target in SCRIPT_TARGETS},
        "others": {target: what for target, what in TARGETS.items() if target not in SCRIPT_TARGETS},
        "example": example,
        "fields": fields(),
        "helps": helps(default),
    }
    head = "".join(f"{_compact(key)}: {_compact(value)},\n" for key, value in data.items())
    # One line and one choice a row, so that a change of a target reads as the list of what changed.
    lines = ",\n".join(numbers)
    shown = ",\n".join(_compact(choice) for choice in offered)
    return {f"{FOLDER}/{FILE}": Output(f'{{\n{head}"lines": [\n{lines}\n],\n"choices": [\n{shown}\n]\n}}\n')}


def _about(choice: Choice) -> dict[str, Any]:
    # What is said of a cluster's file is about the example; a reader's own is another.
    recipe, cluster_file = choice.recipe, choice.context.cluster.document.file
    about_cluster = (cluster_file, DEFAULT_CLUSTER)
    warnings = [
        f"{finding.message}. {finding.help}".strip()
        for finding in choice.findings
        if finding.severity is Severity.WARNING and not (finding.location and finding.location.file in about_cluster)
    ]
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "release": recipe.sglang,
        "own": choice.own,
        "image": recipe.image,
        "nodes": recipe.nodes,
        "warnings": warnings,
    }


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
