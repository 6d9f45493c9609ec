"""Rules about upstream defects and our patches."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.defects import load_defects
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.release import in_range
from mimo_gb10.rules.base import Rule
from mimo_gb10.text.suggest import did_you_mean


class DefectsKnown(Rule):
    """The defects of a recipe are known, and present in its release.

    A defect that the release does not have needs no patch; one that this repository has no patch for is still there
    when the server runs.
    """

    code = "defect"

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare the recipe's list with patches/defects.yaml."""
        if not context.recipe.defects:
            return
        known = load_defects()
        for index, name in enumerate(context.recipe.defects):
            place = context.recipe.document.location(("defects", index))
            if name not in known:
                yield error(
                    "defect-unknown",
                    f"there is no defect '{name}'",
                    did_you_mean(name, known, f"Known: {', '.join(known)}."),
                    place,
                )
                continue
            defect = known[name]
            if not in_range(context.release.version, defect.first, defect.last):
                yield warning(
                    "defect-absent",
                    f"SGLang {context.release.version} does not have the defect '{name}'",
                    "Remove it from the list.",
                    place,
                )
            else:
                yield warning(
                    "defect-unmended",
                    f"SGLang {context.release.version} has the defect '{name}', "
                    "and this repository has no patch for it yet",
                    f"Expect: {defect.symptom}.",
                    place,
                    defect.threads[0] if defect.threads else "",
                )
