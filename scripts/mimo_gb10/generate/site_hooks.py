"""Hooks for mkdocs: what stands in the repository once and is part of the site, byte for byte.

Patches and configs are published under their own paths. Programs that read the site find every page's Markdown beside
the page, and a list of the pages in ``llms.txt``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page

_PUBLISHED = ("patches/*/*.patch", "patches/index.json", "configs/*/*.yaml", "configs/*/*.json")

_pages: list[Page] = []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add patches and configs."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for pattern in _PUBLISHED:
        for path in sorted(root.glob(pattern)):
            files.append(File.generated(config, str(path.relative_to(root)), abs_src_path=str(path)))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Keep the order of the pages."""
    _pages[:] = nav.pages
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Write each page's Markdown and ``llms.txt``."""
    site, docs = Path(config.site_dir), Path(config.docs_dir)
    for source in docs.rglob("*.md"):
        target = site / source.relative_to(docs)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (site / "llms.txt").write_text("\n".join(_llms(config)) + "\n", encoding="utf-8")


def _llms(config: MkDocsConfig) -> Iterator[str]:
    yield f"# {config.site_name}\n"
    yield f"> {config.site_description}\n"
    yield "Every page as Markdown. Configs, schemas and release catalogs are below configs/, patches below patches/.\n"
    sections: dict[str, list[str]] = {}
    for page in _pages:
        section = page.parent.title if page.parent and page.parent.title else "Pages"
        sections.setdefault(section, []).append(f"- [{page.title}]({page.file.src_uri})")
    for section, lines in sections.items():
        yield f"## {section}\n"
        yield "\n".join(lines) + "\n"
