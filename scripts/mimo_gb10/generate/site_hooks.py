"""Hooks for mkdocs: the patch files are part of the site, byte for byte, without a second copy in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``patches/<defect>/<file>.patch``."""
    from mkdocs.structure.files import File

    patches = Path(config.config_file_path).parent / "patches"
    for path in sorted(patches.glob("*/*.patch")):
        files.append(File.generated(config, f"patches/{path.relative_to(patches)}", abs_src_path=str(path)))
    return files
