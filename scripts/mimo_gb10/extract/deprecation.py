"""Whether a declaration says that it is deprecated, and what to use instead."""

from __future__ import annotations

import re

# The text must speak of the flag itself. A help text that says that a flag "replaces the deprecated" one, or that one
# of its values is deprecated, does not.
_DEPRECATED = re.compile(r"\W*(?:(?:note: )?--[\w-]+ is (?:now )?)?(?:deprecated|removed|obsolete)\b", re.IGNORECASE)
_NOTE = re.compile(r"\W*note: (--[\w-]+) is deprecated\b", re.IGNORECASE)

_TOKEN = r"(?:--[a-z][\w-]*|[A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[\w.-]+)?"
_USE = re.compile(
    rf"\b(?:use|pass) ['\"`]?(?P<what>{_TOKEN}(?:(?:,? and(?:/or)?|,) {_TOKEN})*(?: [a-z]\w*(?= instead))?)['\"`]?"
    r"(?P<choices> \{[\w,-]+\})?(?= instead| for | with |[.);,]|$)",
    re.IGNORECASE,
)
_ALIAS = re.compile(r"\balias (?:for|of) (?P<what>--[\w-]+(?:[= ][\w-]+)?)(?=[.);,]|$)", re.IGNORECASE)
_WHEN_SET = re.compile(r"\bwhen (?P<what>--[\w-]+) is set\b", re.IGNORECASE)


def says_deprecated(text: str, action: str) -> bool:
    """Whether a flag is deprecated, by its help text or the name of its action class."""
    return "deprecated" in action.lower() or bool(_DEPRECATED.match(text) or _NOTE.match(text))


def replacement(text: str) -> str | None:
    """What a deprecation text tells to use instead: options or variables, or None."""
    for pattern in (_ALIAS, _USE, _WHEN_SET):
        found = pattern.search(text)
        if found:
            return " ".join(re.findall(rf"{_TOKEN}(?: [a-z]\w*$)?", found["what"]))
    return None
