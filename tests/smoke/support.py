"""Running checks against the stand-in."""

from __future__ import annotations

from typing import Any

from mimo_gb10.launch import find_document
from mimo_gb10.paths import RECIPES, ROOT
from mimo_gb10.recipe import Recipe, load_recipe
from mimo_gb10.smoke.catalog import select
from mimo_gb10.smoke.check import Outcome, Session
from mimo_gb10.smoke.client import Client, parse_url
from mimo_gb10.smoke.runner import run
from tests.smoke.server import StandIn


def client_of(server: StandIn, timeout: float = 5.0, key: str | None = None) -> Client:
    return Client(parse_url(server.url), key, timeout)


def recipe(name: str = str(ROOT / "tests" / "data" / "gb10x4-mtp.yaml")) -> Recipe:
    return load_recipe(find_document(name, RECIPES, "recipe"))


def outcomes(server: StandIn, *only: str, timeout: float = 5.0, **session: Any) -> dict[str, Outcome]:
    """What each check found; all of them if none is named."""
    trained = session.setdefault("trained", True)
    checks = select(only, (), "full" if trained else "structural")
    made = Session(client_of(server, timeout), **session)
    return {result.check.name: result.outcome for result in run(checks, made)}
