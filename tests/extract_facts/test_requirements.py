from __future__ import annotations

import pytest

from mimo_gb10.extract.requirements import applies, parse, platform
from mimo_gb10.extract.values import Unresolved


@pytest.mark.parametrize(
    ("text", "name", "wanted", "marker"),
    [
        ("av", "av", "", None),
        ("torch==2.11.0", "torch", "==2.11.0", None),
        ("kernels<0.15,>=0.14.1", "kernels", "<0.15,>=0.14.1", None),
        ("flashinfer_python[cu13]==0.7.2", "flashinfer_python", "==0.7.2", None),
        ("a (>=1.0)", "a", ">=1.0", None),
        ('triton~=3.8.0; platform_system == "Linux"', "triton", "~=3.8.0", 'platform_system == "Linux"'),
        ("a ; extra == 'x'", "a", "", "extra == 'x'"),
    ],
)
def test_parts_of_a_requirement(text: str, name: str, wanted: str, marker: str | None) -> None:
    found = parse(text)
    assert (found.name, found.wanted, found.marker) == (name, wanted, marker)


@pytest.mark.parametrize("text", ["", "==1.0", "a @ file:///x"])
def test_what_is_no_requirement_of_a_release_is_refused(text: str) -> None:
    with pytest.raises(Unresolved, match="not a requirement"):
        parse(text)


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ('platform_machine == "aarch64"', True),
        ('sys_platform != "linux" or (sys_platform == "linux" and platform_machine != "aarch64")', False),
        ('python_version < "3.15" and python_version >= "3.9"', True),
        ('python_full_version == "3.12"', True),
        ('"3.2" > python_version', False),
        ('extra == "dev"', False),
        ('platform_machine in "arm64 aarch64"', True),
        ('platform_machine not in "x86_64"', True),
    ],
)
def test_markers_on_gb10(marker: str, holds: bool) -> None:
    assert applies(parse(f"a; {marker}"), platform("aarch64")) is holds


@pytest.mark.parametrize(
    "marker",
    ['os == "x"', "platform_machine", 'python_version < "3.x"', 'a === "b"', 'not (extra == "x")', "extra is extra"],
)
def test_a_marker_of_another_form_is_refused(marker: str) -> None:
    with pytest.raises(Unresolved):
        applies(parse(f"a; {marker}"), platform("aarch64"))
