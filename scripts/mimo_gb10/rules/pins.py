"""Rules about the libraries that a release brings along."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, warning
from mimo_gb10.rules.base import Rule

_PACKAGE = "nvidia-nccl-cu13"
_FIRST_GOOD = (2, 29, 3)
FIRST_GOOD_NCCL = ".".join(map(str, _FIRST_GOOD))
"""The first NCCL without the deadlock."""


def can_deadlock(nccl: str) -> bool:
    """Whether a version of NCCL is older than that; False where there is none."""
    version = tuple(int(part) for part in re.findall(r"\d+", nccl)[:3])
    return bool(version) and version < _FIRST_GOOD


class NcclDeadlock(Rule):
    """NCCL below 2.29.3 can deadlock on aarch64 when a launch spans nodes.

    A bisection found 2.28.9 and 2.29.2 bad, 2.29.3 and 2.30.7 good (NVIDIA/nccl issue 2353, reported); it was met with
    SGLang on two GB10 (sglang issue 33289, reported). The version is the one that the release's pinned torch requires;
    an image can carry another: read the log line "sglang is using nccl==".
    """

    code = "nccl-deadlock"

    def check(self, context: Context) -> Iterator[Finding]:
        """The pinned NCCL of a release, for a launch over several GB10 nodes."""
        pinned = context.release.pins().get(_PACKAGE, "")
        if context.recipe.nodes > 1 and context.is_gb10 and can_deadlock(pinned):
            yield warning(
                self.code,
                f"SGLang {context.release.version} brings NCCL {pinned}, "
                "which can deadlock on aarch64 over several nodes",
                "Check the log line 'sglang is using nccl=='. If it is below 2.29.3, install a newer one in the image: "
                f"pip install '{_PACKAGE}>=2.30.7'.",
                context.recipe.document.location(("sglang",)),
                "https://github.com/NVIDIA/nccl/issues/2353",
            )
