from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mimo_gb10.launch import check
from mimo_gb10.memory.setting import Setting, setting_of
from mimo_gb10.model import load_model
from mimo_gb10.paths import MODELS

SettingOf = Callable[..., Setting]


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    return load_model(MODELS / "mimo-v2.5.yaml").facts


@pytest.fixture(scope="session")
def setting() -> SettingOf:
    """The setting of a recipe with ``--set`` overrides."""

    def make(recipe: str = "gb10x4-omni", *overrides: str) -> Setting:
        context = check(recipe, "example-4x-gb10", [f"flags.{override}" for override in overrides]).context
        assert context is not None
        return setting_of(context)[0]

    return make
