"""Whether everything that the carried packages ask for is carried, in the image, or left out on purpose."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mimo_gb10.findings import Finding, warning
from mimo_gb10.rehearsal.bundle_spec import Spec, normalized

_REQUIREMENT = re.compile(r"Requires-Dist:\s*([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*(?:;\s*(.*))?")
_COMPARISON = re.compile(r"(\w+|'[^']*'|\"[^\"]*\")\s*(==|!=|<=|>=|<|>|not in|in|~=|===)\s*(\w+|'[^']*'|\"[^\"]*\")")


def unmet(
    wheels: Mapping[str, Path], have: Mapping[str, str | None], spec: Spec, python: str, arch: str
) -> list[Finding]:
    """A warning for each requirement that nothing meets; versions are not compared, the bundle's data pins them."""
    wanted: dict[str, list[str]] = {}
    for name, path in sorted(wheels.items()):
        for needed in sorted(set(requirements(path, python, arch))):
            if needed not in wheels and needed not in have and needed not in spec.left_out:
                wanted.setdefault(needed, []).append(name)
    help_text = "Add it to the bundle's data, under 'packages', or under 'left_out' with the reason."
    return [
        warning(
            "requirement-unmet", f"{needed}, which {', '.join(by)} asks for, is neither carried nor there", help_text
        )
        for needed, by in sorted(wanted.items())
    ]


def requirements(wheel: Path, python: str, arch: str) -> list[str]:
    """Normalized names of the packages that a wheel asks for on this Python and platform, without extras."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(
            name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        )
        text = archive.read(name).decode("utf-8", "replace")
    head = text.partition("\n\n")[0].replace("\r", "")
    return [
        normalized(match[1])
        for match in map(_REQUIREMENT.match, head.splitlines())
        if match and applies(match[2] or "", python, arch)
    ]


def applies(marker: str, python: str, arch: str) -> bool:
    """Whether an environment marker holds on Linux with this Python; one that cannot be read counts as if it did."""
    facts = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": arch,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
        "extra": "",
    }

    def value(token: str) -> str:
        return token[1:-1] if token[0] in "'\"" else facts.get(token, "")

    def verdict(match: re.Match[str]) -> str:
        left, operator, right = value(match[1]), match[2], value(match[3])
        if "version" in match[1] or "version" in match[3]:
            return str(_compare(_numbers(left), operator, _numbers(right)))
        return str({"==": left == right, "!=": left != right, "in": left in right}.get(operator, left not in right))

    # What is left is True, False, and, or, not and brackets: nothing else may reach eval.
    logic = _COMPARISON.sub(verdict, marker) or "True"
    if not re.fullmatch(r"(?:True|False|and|or|not|[()\s])+", logic):
        return True
    try:
        return bool(eval(logic, {"__builtins__": {}}))
    except SyntaxError:
        return True


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _compare(left: tuple[int, ...], operator: str, right: tuple[int, ...]) -> bool:
    width = max(len(left), len(right))
    a, b = (side + (0,) * (width - len(side)) for side in (left, right))
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b}.get(operator, a >= b)
