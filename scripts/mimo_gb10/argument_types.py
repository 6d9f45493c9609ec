"""How SGLang's parser turns the text of a value into the value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_SCALED = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)\Z")
_SCALES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _scaled(text: str) -> int:
    match = _SCALED.match(text.strip())
    if match is None:
        try:
            return int(text)
        except ValueError:
            raise ValueError("a whole number, or one with k, M, G, T, Ki, Mi, Gi or Ti behind it") from None
    amount, unit = match.groups()
    if unit.endswith("i") and "." in amount:
        raise ValueError(f"a whole number of {unit}")
    return int(Decimal(amount) * _SCALES[unit])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        raise ValueError(f"JSON: {problem}") from None
    except RecursionError:
        raise ValueError("JSON: it is nested too deep") from None


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "int": _integer,
    "float": _number,
    "human_readable_int": _scaled,
    "json.loads": _json,
    "json_list_type": _json,
    "nullable_str": lambda text: None if text in ("", "None") else text,
}


def convert(type_name: str | None, text: str) -> Any:
    """The value that the parser makes of `text`.

    Args:
        type_name: The catalog's name of the converter; None, ``str`` and names of SGLang's own
            that accept any text give the text.
        text: What the user wrote.

    Raises:
        ValueError: If the parser would refuse it; the message says what is wanted.
    """
    converter = _CONVERTERS.get(type_name or "")
    return text if converter is None else converter(text)
