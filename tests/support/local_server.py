"""HTTP servers of tests: on the loopback, each in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any, TypeVar


class LocalServer(ThreadingHTTPServer):
    """One that says nothing of clients that go away. `stopped` is set before it ends, for what waits in a handler."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, handler: Any, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to report."""


S = TypeVar("S", bound=LocalServer)


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """The server while it answers."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
