from __future__ import annotations

import pytest

from mimo_gb10.extract.deprecation import replacement, says_deprecated


@pytest.mark.parametrize(
    ("text", "action", "deprecated"),
    [
        ("Deprecated. Something else does it.", "store_true", True),
        ("[Deprecated] Use --new instead.", "store_true", True),
        ("(Deprecated, use --new) Starts it.", "store_true", True),
        ("Note: --old is deprecated now.", "store_true", True),
        ("Removed. Use --new.", "store", True),
        ("", "DeprecatedAliasStoreAction", True),
        ("Starts it. Replaces the deprecated --old.", "store_true", False),
        ("Which one; the value x is a deprecated alias of y.", "store", False),
        ("Turns removed requests into errors.", "store", False),
        ("", "store", False),
    ],
)
def test_the_text_must_speak_of_the_flag_itself(text: str, action: str, deprecated: bool) -> None:
    assert says_deprecated(text, action) is deprecated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Deprecated] Use --new instead.", "--new"),
        ("(Deprecated: use --new=auto) Starts it.", "--new=auto"),
        ("Deprecated. Use --new for more.", "--new"),
        ("Deprecated. Use --new {a,b} instead.", "--new"),
        ("Gone. Use --new with one of: a, b.", "--new"),
        ("[Deprecated] Alias for --new fast.", "--new fast"),
        ("Deprecated alias for --new=fast. It changes more.", "--new=fast"),
        ("Use A_FIRST=1 and A_SECOND=1 instead.", "A_FIRST=1 A_SECOND=1"),
        ("use --one=a and/or --two=a instead", "--one=a --two=a"),
        ("Deprecated. Done when --new is set.", "--new"),
        ("Please use '--new' instead.", "--new"),
        ("Deprecated: it is on by default. Use --force to skip the conditions.", None),
        ("Note: --old is deprecated now.", None),
        ("", None),
    ],
)
def test_the_replacement_is_what_the_text_tells_to_use(text: str, expected: str | None) -> None:
    assert replacement(text) == expected
