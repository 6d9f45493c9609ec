"""Server-sent events, as far as SGLang sends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def data_of_events(lines: Iterable[bytes]) -> Iterator[str]:
    r"""The data of each complete event.

    Args:
        lines: Lines as they arrive, with their line ends (``\n``, ``\r\n``).

    Yields:
        The data, several ``data:`` lines joined by a newline. Comments, names and other fields are left out; so is an
        event that the end of the stream cuts off.
    """
    parts: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
        if not line:
            if parts:
                yield "\n".join(parts)
                parts = []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            parts.append(value.removeprefix(" "))
