"""Where the checkout keeps things."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
RECIPES = CONFIGS / "recipes"
CLUSTERS = CONFIGS / "clusters"
MODELS = CONFIGS / "models"
RELEASES = CONFIGS / "releases"
ROUTERS = CONFIGS / "routers"
SCHEMAS = CONFIGS / "schema"
PATCHES = ROOT / "patches"
DEFECTS = PATCHES / "defects.yaml"
PATCH_INDEX = PATCHES / "index.json"
DOCS = ROOT / "docs"


def names_in(folder: Path, suffix: str = ".yaml") -> list[str]:
    """Names of the configs in a folder, without the suffix, sorted."""
    return sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}"))
