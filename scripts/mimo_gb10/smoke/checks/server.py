"""Is it up, and is it what the recipe says?"""

from __future__ import annotations

from mimo_gb10.model import load_model
from mimo_gb10.paths import MODELS, names_in
from mimo_gb10.release import known_releases
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, warn
from mimo_gb10.smoke.client import Failure
from mimo_gb10.smoke.expect import compare_flags


def health(session: Session) -> Outcome:
    """``/health`` makes SGLang generate one token, unless it is busy anyway."""
    answer = session.client.get("/health")
    if answer.status == 503:
        return fail("HTTP 503: it is still starting, shutting down, or its scheduler does not answer",
                    help="--wait SECONDS waits for a server that loads.")  # fmt: skip
    answer.expect()
    return ok(f"HTTP 200 in {answer.seconds:.1f} s", numbers={"seconds": round(answer.seconds, 3)})


def models(session: Session) -> Outcome:
    """``/v1/models`` names the model."""
    try:
        entries = session.models
    except Failure as problem:
        if problem.kind == "status" and "HTTP 404" in problem.says:
            return fail(
                "/v1/models: HTTP 404",
                *problem.evidence,
                help="A worker rank answers /health only: give the address of the head (rank 0).",
            )
        raise
    if not entries:
        return fail("the list is empty")
    length = session.context_length
    return ok(f"{session.model}, context {length if length else 'not said'}", numbers={"context_length": length})


def model(session: Session) -> Outcome:
    """``/model_info``: the recipe's architecture, and the senses that it should have."""
    answer = session.client.get("/model_info").expect()
    data = answer.json()
    if not isinstance(data, dict):
        return fail("/model_info is not an object", answer.excerpt())
    found = data.get("architectures") or []
    senses = {name: data.get(f"has_{name}_understanding") for name in ("image", "audio")}
    says = f"{', '.join(map(str, found)) or 'architecture not said'}; " + ", ".join(
        f"{name} {'yes' if has else 'no' if has is False else 'not said'}" for name, has in senses.items()
    )
    wanted = _architecture(session)
    if wanted and found and wanted not in found:
        return fail(f"it serves {', '.join(map(str, found))}, the recipe {wanted}", answer.excerpt())
    if wanted and False in senses.values():
        lacking = ", ".join(name for name, has in senses.items() if has is False)
        remedy = "Look for --language-model-only in the command, and for a failed import of the model in the log."
        return fail(f"it has no {lacking} understanding; the model has", answer.excerpt(), help=remedy)
    return ok(says)


def _architecture(session: Session) -> str | None:
    name = session.recipe.model if session.recipe else None
    if name not in names_in(MODELS):
        return None
    return load_model(MODELS / f"{name}.yaml", validate=False).architecture


def release(session: Session) -> Outcome:
    """The SGLang release that the server says it is, against the recipe's."""
    version = str(session.info.get("version") or "")
    if not version:
        return fail("/server_info has no version")
    recipe = session.recipe
    if recipe is not None and version != recipe.sglang:
        return fail(
            f"SGLang {version} runs, the recipe is for {recipe.sglang}",
            help=f"Start the recipe's image ({recipe.image}), or set the recipe's sglang and check it again.",
        )
    if version not in known_releases():
        return warn(f"SGLang {version}: no catalog, so nothing is known of what its parsers promise")
    return ok(f"SGLang {version}" + (f", as {recipe.name} wants" if recipe else ""))


def flags(session: Session) -> Outcome:
    """Each flag of the recipe against what the server shows of its arguments."""
    recipe, catalog = session.recipe, session.release
    if recipe is None:
        return skip("no --recipe to compare with")
    if catalog is None:
        return skip(f"no catalog of SGLang {recipe.sglang}")
    compared = compare_flags(recipe, catalog, session.info)
    by = {
        verdict: [item.text() for item in compared if item.verdict == verdict]
        for verdict in ("same", "chosen", "hidden", "differs")
    }
    if by["differs"]:
        return fail(
            f"{len(by['differs'])} of {len(compared)} flags are not the recipe's: {by['differs'][0]}",
            *by["differs"],
            help="Compare the command that runs with: python scripts/gen_launch.py " + recipe.name,
        )
    if not by["same"] and not by["chosen"]:
        return warn(f"/server_info shows none of the {len(compared)} flags", *by["hidden"])
    says = f"{len(by['same'])} of {len(compared)} flags as in {recipe.name}"
    if by["chosen"]:
        says += f"; {len(by['chosen'])} chosen by SGLang"
    if by["hidden"]:
        says += f"; {len(by['hidden'])} not shown"
    return ok(says, *by["chosen"], *by["hidden"])


CHECKS = (
    Check("health", "server", "/health answers 200", health),
    Check("models", "server", "/v1/models names the model", models),
    Check("model", "server", "architecture and senses are the recipe's", model),
    Check("release", "server", "the SGLang release is the recipe's", release),
    Check("flags", "server", "the server's arguments are the recipe's", flags),
)
