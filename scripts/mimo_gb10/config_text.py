"""Recipes and clusters written down as YAML files, in the project's own layout."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from mimo_gb10.cluster import Cluster
from mimo_gb10.recipe import Recipe

_WIDTH = 118


def recipe_text(recipe: Recipe, notes: Sequence[str] = ()) -> str:
    """A recipe as a YAML file, with comment lines at its top."""
    lines = [
        "# yaml-language-server: $schema=../schema/recipe.schema.json",
        *_comments(notes),
        f"name: {recipe.name}",
        *_entry("title", recipe.title),
        *(_entry("summary", recipe.summary) if recipe.summary else []),
        f"model: {recipe.model}",
        f"sglang: {recipe.sglang}",
        f"image: {_scalar(recipe.image)}",
        f"nodes: {recipe.nodes}",
        *_mapping("flags", recipe.flags),
        *_mapping("env", recipe.env),
        *(["defects:", *(f"  - {name}" for name in recipe.defects)] if recipe.defects else ["defects: []"]),
        *_mapping("why", recipe.why),
        *(["evidence:"] if recipe.evidence else ["evidence: []"]),
        *(f"  - {{link: {_scalar(item.link)}, shows: {_scalar(item.shows)}}}" for item in recipe.evidence),
    ]
    return "\n".join(lines) + "\n"


def cluster_text(cluster: Cluster, notes: Sequence[str] = ()) -> str:
    """A cluster as a YAML file, with comment lines at its top."""
    head = cluster.head
    lines = [
        "# yaml-language-server: $schema=../schema/cluster.schema.json",
        *_comments(notes),
        f"name: {cluster.name}",
        f"model_path: {_scalar(cluster.model_path)}",
        *([f"gpus_per_node: {cluster.gpus_per_node}"] if cluster.gpus_per_node > 1 else []),
        f"rendezvous: {{port: {cluster.rendezvous_port}}}",
        f"serve: {{host: {_scalar(cluster.serve_host)}, port: {cluster.serve_port}}}",
        "fabric:",
        f"  socket_interface: {_scalar(head.socket_interface)}",
        f"  rdma_devices: [{', '.join(_scalar(device) for device in head.rdma_devices)}]",
        "nodes:",
        *(f"  - {{address: {_scalar(node.address)}}}" for node in cluster.nodes),
    ]
    return "\n".join(lines) + "\n"


def _comments(notes: Sequence[str]) -> list[str]:
    shown = ("".join(ch if ch.isprintable() else "?" for ch in note) for note in notes)
    return [line for note in shown for line in textwrap.wrap(f"# {note}", 118, subsequent_indent="# ")]


def _mapping(name: str, values: Any) -> list[str]:
    if not values:
        return [f"{name}: {{}}"]
    return [f"{name}:", *(line for key, value in values.items() for line in _entry(key, value, "  "))]


def _entry(key: str, value: Any, indent: str = "") -> list[str]:
    """One key with its value; long text is folded over several lines."""
    line = f"{indent}{key}: {_scalar(value)}"
    if len(line) <= _WIDTH or not isinstance(value, str) or not value.isprintable() or " ".join(value.split()) != value:
        return [line]
    inner = indent + "  "
    wrapped = textwrap.wrap(
        value, _WIDTH, initial_indent=inner, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False
    )
    return [f"{indent}{key}: >-", *wrapped]


_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9._/:@+-]*[A-Za-z0-9]\Z")
_NOT_TEXT = re.compile(r"(?i)(?:true|false|null|yes|no|on|off|y|n)\Z")


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    if isinstance(value, dict):
        return _quoted(json.dumps(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # Python writes 1e-05, which the two YAMLs read differently.
        return repr(value) if "e" not in repr(value) else f"{value:f}"
    if _PLAIN.match(value) and not _NOT_TEXT.match(value) and ": " not in value:
        return str(value)
    return _quoted(value)


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(ch) for ch in text) + '"'


def _escaped(ch: str) -> str:
    if ch in '"\\':
        return "\\" + ch
    if ch.isprintable():
        return ch
    return f"\\U{ord(ch):08x}"
