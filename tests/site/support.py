"""The built site in a real browser."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from mimo_gb10.paths import DOCS, ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"]


def build(folder: Path) -> None:
    """The site, strict, in a folder."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


class _Compressed(_Quiet):
    _TEXT = (".html", ".css", ".js", ".json", ".svg", ".xml", ".txt", ".md")

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        path = Path(self.translate_path(self.path))
        file = path / "index.html" if path.is_dir() else path
        if not file.is_file() or file.suffix not in self._TEXT or "gzip" not in self.headers.get("Accept-Encoding", ""):
            return super().send_head()
        body = gzip.compress(file.read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(file)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        return io.BytesIO(body)


@contextlib.contextmanager
def serving(folder: Path, *, compressed: bool = False) -> Iterator[str]:
    """The address of a server of the folder, which compresses as web hosts do if asked to."""
    handler = functools.partial(_Compressed if compressed else _Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def pages(folder: Path) -> list[str]:
    """Every page's path below the root, as a reader would type it."""
    files = sorted(folder.rglob("*.html"))
    return [str(file.relative_to(folder)).removesuffix("index.html") for file in files]


def serve_tool(page: Page, name: str) -> None:
    """A tool's Markdown as a page, without the theme, which knows nothing of the tool."""
    markdown = pytest.importorskip("markdown")
    text = (DOCS / f"tools/{name}.md").read_text(encoding="utf-8")
    body = markdown.markdown(text, extensions=["md_in_html", "attr_list", "fenced_code"])
    html = f"<!doctype html><html lang=en><head><link rel=icon href=data:,><title>x</title></head><body>{body}</body>"
    page.route(
        re.compile(rf"/tools/{name}/(\?.*)?$"),
        lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"),
    )
