"""Ports for servers of tests, which run in several processes at once."""

from __future__ import annotations

import contextlib
import random
import socket

# Below the ports that the system gives to outgoing connections by itself.
_FIRST, _LAST = 10000, 32000


def free_port(*after: int) -> int:
    """A port that nothing listens on, and with it those that are so far above it."""
    for _ in range(1000):
        port = random.randrange(_FIRST, _LAST)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for offset in (0, *after):
                one = held.enter_context(socket.socket())
                one.bind(("127.0.0.1", port + offset))
            return port
    raise OSError("no free port")
