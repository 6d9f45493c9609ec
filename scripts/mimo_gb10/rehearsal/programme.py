"""What is asked of a rehearsal's server, in which order, and which of it a user means."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.rehearsal.adapt import ENCODERS
from mimo_gb10.rehearsal.checks import broken, greedy, senses, stress
from mimo_gb10.rehearsal.processes import memory_of
from mimo_gb10.rehearsal.stage import Stage
from mimo_gb10.smoke.catalog import AREAS, select
from mimo_gb10.smoke.check import Check, Session, Status
from mimo_gb10.smoke.runner import Result
from mimo_gb10.text.suggest import did_you_mean

SMOKE_AREAS = frozenset(AREAS)
_SPEED = ("rates",)
"""Left out: how fast a tiny random model is says nothing about anything."""

_SENSES = {
    "image": ("image",),
    "audio": ("audio",),
    "video": ("video",),
    "transcription": ("transcribe-json", "transcribe-language"),
}
"""Which checks say that a kind of request works at all here."""


@dataclass
class Programme:
    """What the checks are to look at.

    Attributes:
        only: Names of checks or areas; empty means all.
        without: Names to leave out.
        base: The greedy text of another rehearsal, or None.
        base_senses: Its answers about media, or None.
        base_attention: How its encoders attended, as `attention_of` tells it.
        attention: The same here.
        base_model: The digest of the model that it is of.
        reference: Computes the text model in another way; None until the model is made.
    """

    only: frozenset[str]
    without: frozenset[str]
    base: greedy.Greedy | None = None
    base_senses: greedy.Greedy | None = None
    base_attention: Mapping[str, str] = field(default_factory=dict)
    base_model: str | None = None
    reference: greedy.Reference | None = None
    attention: Mapping[str, str] = field(default_factory=dict)

    def meant(self, checks: Iterable[Check]) -> list[Check]:
        """The checks that are to run."""
        return [
            check
            for check in checks
            if (not self.only or {check.name, check.area} & self.only) and not {check.name, check.area} & self.without
        ]

    def play(
        self,
        stage: Stage,
        session: Session,
        held: greedy.Held,
        seconds: float,
        started: Callable[[Check], None],
    ) -> Iterator[Result]:
        """Smoke test, greedy text, load, broken uploads: in this order, since each may bring the server down.

        Args:
            stage: The server, which is ready.
            session: The same for the checks.
            held: Takes the greedy text and answers.
            seconds: Of load.
            started: Called before each check.
        """
        seen: list[Result] = []
        for result in stage.play(self.meant(smoke_checks()), session, started):
            seen.append(result)
            yield result
        failed = {result.check.name for result in seen if result.outcome.status is Status.FAIL}
        known = frozenset(kind for kind, names in _SENSES.items() if failed & set(names))
        ranks = stage.ranks
        mine = (
            *greedy.checks(held, reference=self.reference, base=self.base),
            *senses.checks(held, self.base_senses, known, self._unlike()),
            *stress.checks(alive=ranks.why_dead, memory=lambda: memory_of(ranks.leaders), seconds=seconds, known=known),
            *broken.checks(ranks.why_dead, stage.revive, known=known),
        )
        yield from stage.play(self.meant(mine), session, started)

    def _unlike(self) -> frozenset[str]:
        return frozenset(kind for kind, have in self.attention.items() if self.base_attention.get(kind, have) != have)


def smoke_checks() -> list[Check]:
    """The checks of the smoke test that a rehearsal makes."""
    return select((), _SPEED, "structural")


def all_checks() -> list[Check]:
    """Every check of a rehearsal, to look at and not to run."""

    def nothing() -> None:
        return None

    return [
        *smoke_checks(),
        *greedy.checks(),
        *senses.checks(),
        *stress.checks(alive=nothing, memory=dict),
        *broken.checks(nothing, lambda: False),
    ]


def attention_of(present: Container[str], has_fa3: bool) -> dict[str, str]:
    """How the encoders attend, by kind of media: what makes two servers give other answers.

    The vision tower's masks decide, not which kernel has them. What the audio encoder gives is put into codes, where
    rounding chooses between near ones, so another kernel gives another text as well: with 0.5.17 without the encoder's
    masks, FlashAttention 3 and the triton kernel were 0.78 nats apart at the first token.

    Args:
        present: The defects of the SGLang that runs, without those that are mended.
        has_fa3: Whether the encoders attend with FlashAttention 3, which has the vision tower's masks.
    """
    vision = "masks" if has_fa3 or "vision-sinks-window" not in present else "no masks"
    audio = "no masks" if "audio-causal-window" in present else "masks"
    return {"image": vision, "video": vision, "audio": f"{audio}, FlashAttention 3" if has_fa3 else audio}


def read_programme(only: Sequence[str], without: Sequence[str], base: Path | None) -> Programme:
    """The programme that ``--only``, ``--skip`` and ``--base`` ask for.

    Args:
        only: Names of checks or areas, several in one text parted by commas.
        without: The same, to leave out.
        base: The receipt of another rehearsal, or None.

    Raises:
        Refused: If a name is none, or the receipt cannot be read.
    """
    chosen, left_out = (
        frozenset(name.strip() for value in values for name in value.split(",") if name.strip())
        for values in (only, without)
    )
    checks = all_checks()
    known = {name for check in checks for name in (check.name, check.area)}
    for name in (*chosen, *left_out):
        if name not in known:
            areas = f"Areas: {', '.join(dict.fromkeys(check.area for check in checks))}."
            remedy = did_you_mean(name, sorted(known), areas)
            raise Refused([error("usage", f"there is no check or area {name!r}", remedy)])
    if base is None:
        return Programme(chosen, left_out)
    place = Location(str(base))
    try:
        data = json.loads(base.read_bytes())
        text, model = greedy.Greedy.from_dict(data["greedy"]), str(data["model"]["sha256"])
        heard = greedy.Greedy.from_dict(data["senses"]) if data.get("senses") else None
        attended = attention_of(
            data["sglang"]["present"], any(change["what"] == ENCODERS for change in data["changes"])
        )
    except OSError as problem:
        raise Refused([error("base", f"it cannot be read: {problem.strerror}", "", place)]) from None
    except (ValueError, LookupError, TypeError):
        remedy = "Name the receipt.json of another rehearsal."
        raise Refused([error("base", "it is no receipt with greedy text", remedy, place)]) from None
    return Programme(chosen, left_out, text, heard, attended, model)
