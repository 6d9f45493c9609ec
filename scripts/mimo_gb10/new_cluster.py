"""A commented cluster file to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.files import create_file
from mimo_gb10.paths import CLUSTERS, SCHEMAS

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*\Z")


def new_cluster(path: Path) -> None:
    """Write the example cluster to `path`, under its own name and with a schema line that editors resolve from there.

    Raises:
        Refused: If the file exists or cannot be written.
    """
    text = (CLUSTERS / f"{DEFAULT_CLUSTER}.yaml").read_text(encoding="utf-8")
    schema = os.path.relpath(SCHEMAS / "cluster.schema.json", path.resolve().parent)
    text = re.sub(
        r"(?m)^# yaml-language-server: .*$", lambda _: f"# yaml-language-server: $schema={schema}", text, count=1
    )
    name = path.stem.lower()
    if _NAME.match(name):
        text = text.replace(f"name: {DEFAULT_CLUSTER}", f"name: {name}", 1)
    create_file(path, text)
