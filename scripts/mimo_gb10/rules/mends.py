"""Rules about upstream defects and our patches."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.defects import FIXED, NOT_AFFECTED, PRESENT, load_defects, load_verdicts
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.rules.base import Rule
from mimo_gb10.text.suggest import did_you_mean

_NEEDS_MTP = "mtp-triton-window"
# Each is of a backend that SGLang does not use where fa3 runs.
_WITHOUT_FA3 = ("audio-encoder-flash-attn", "vision-sinks-window")


class DefectsKnown(Rule):
    """The defects of a recipe are those of its release that bite it, and each has a patch.

    The patches of the listed defects are put on before the launch. A defect that the release does not have needs none;
    one that is not listed, or that this repository has no patch for, is still there when the server runs.
    mtp-triton-window bites only where speculation meets the triton attention backend; audio-encoder-flash-attn and
    vision-sinks-window do not bite where the encoders run with fa3, on Hopper.
    """

    code = "defect"
    options = (
        "speculative-algorithm",
        "attention-backend",
        "speculative-draft-attention-backend",
        "mm-attention-backend",
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare the recipe's list with what the wheels say of each defect."""
        version = context.release.version
        verdicts = load_verdicts()
        for index, name in enumerate(context.recipe.defects):
            place = context.recipe.document.location(("defects", index))
            if name not in verdicts:
                known = f"Known: {', '.join(verdicts)}."
                remedy = did_you_mean(name, verdicts, known)
                yield error("defect-unknown", f"there is no defect '{name}'", remedy, place)
                continue
            status = verdicts[name].in_release(version)
            if status in (FIXED, NOT_AFFECTED):
                what = f"SGLang {version} does not have the defect '{name}'"
                yield warning("defect-absent", what, "Remove it from the list.", place)
            elif verdicts[name].patch_for(version) is None:
                defect = load_defects()[name]
                what = f"SGLang {version} has the defect '{name}', and this repository has no patch for it"
                remedy = defect.why_unmended(version) or f"Expect: {defect.symptom.rstrip('.')}."
                yield warning("defect-unmended", what, remedy, place, defect.threads[0].url)
        missing = [
            name
            for name, verdict in verdicts.items()
            if name not in context.recipe.defects
            and verdict.in_release(version) == PRESENT
            and verdict.patch_for(version) is not None
            and _bites(context, name)
        ]
        # A launch command, which is checked by the same rules, has no such list.
        if missing and "defects" in context.recipe.document.value:
            yield warning(
                "defect-unlisted",
                f"SGLang {version} has defects that the recipe does not list: {', '.join(missing)}",
                "Add them, so that their patches are put on.",
                context.recipe.document.location(("defects",), key=True),
            )


def _bites(context: Context, name: str) -> bool:
    if name in _WITHOUT_FA3 and not context.is_gb10 and context.value("mm-attention-backend") == "fa3":
        return False
    if name != _NEEDS_MTP:
        return "vision" in context.model.facts or "audio" in context.model.facts
    if context.speculative_algorithm is None:
        return False
    draft = context.value("speculative-draft-attention-backend", context.attention_backend)
    return "triton" in (context.attention_backend, draft)
