"""The offline bundle: what is carried, how it is packed in parts, and that it comes out whole or not at all."""

from __future__ import annotations

import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import pack_rehearsal
import unpack_rehearsal
from mimo_gb10.extract.wheel import EnvironmentProblem
from mimo_gb10.findings import Refused
from mimo_gb10.paths import DEFECTS, RELEASES, ROOT
from mimo_gb10.rehearsal import bundle_pack
from mimo_gb10.rehearsal.bundle import Made, build
from mimo_gb10.rehearsal.bundle_needs import applies, requirements, unmet
from mimo_gb10.rehearsal.bundle_spec import (
    BUNDLE,
    STUBS,
    Links,
    Package,
    Spec,
    carried,
    check_image,
    load_spec,
    read_have,
)
from mimo_gb10.rehearsal.bundle_wheels import wheels
from mimo_gb10.text.document import read_document

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
STEM = f"sglang-9.9.9-cp{HERE.replace('.', '')}-x86_64"
UNPACK = ROOT / "scripts" / "unpack_rehearsal.py"
KNOWN = list(read_document(BUNDLE).value["releases"])
MANY = {f"many/m{number}.py": os.urandom(3000).hex() for number in range(40)}
AV = "av.libs/libav-0123abcd.so.62.1.2"


def wheel(folder: Path, name: str, files: Mapping[str, str], *, tags: str = "py3-none-any", needs: str = "") -> Path:
    """A wheel of version 1.0 with these files and a METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-1.0-{tags}.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}\n"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    about = {f"{info}/METADATA": metadata, f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tags}\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, **about}.items():
            archive.writestr(inside, text)
    return path


def spec(*packages: Package, stubs: Mapping[str, str] | None = None) -> Spec:
    return Spec("9.9.9", "2.11.0", ("torch",), packages, stubs or {}, {"huge": "not needed"})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    wheel(
        folder,
        "one",
        {
            "one/__init__.py": "x = 1\n",
            "one/types.pyi": "x: int\n",
            "one/data/big.bin": "0" * 5000,
            "one-1.0.data/scripts/one": "#!/bin/sh\necho program\n",
            "one-1.0.data/purelib/one/more.py": "y = 2\n",
            "one-1.0.data/headers/one.h": "int x;\n",
        },
    )
    wheel(folder, "av", {"av/__init__.py": "", AV: "elf", "av.libs/libavother-0123abcd.so.7": "elf"})
    wheel(folder, "many", MANY)
    return folder


ONE = Package("one", "1.0", drop=("*.pyi", "one/data/*"))
LIBRARY = Package("av", "1.0", links=Links("av.libs", ("av",)))
PADDED = Package("many", "1.0")


def pack(cache: Path, out: Path, *packages: Package, limit: int = 2**22, **changes: Any) -> Made:
    return build(
        spec(*packages, stubs=changes.pop("stubs", None)),
        have=changes.pop("have", {"torch": "2.11.0"}),
        python=changes.get("python", HERE),
        arch="x86_64",
        cache=cache,
        out=out,
        limit=limit,
        tell=lambda line: None,
        preset=0,
    )


def unpack(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(UNPACK), *map(str, arguments)]
    full = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=full)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and bundle_pack.MANIFESTS not in path.parts
    }


def test_what_is_packed_comes_out_in_its_place(cache: Path, tmp_path: Path) -> None:
    made = pack(cache, tmp_path / "out", ONE, LIBRARY, stubs={"sgl_kernel/flash_ops.py": "too large"})
    (part,) = made.parts
    assert part.name == f"{STEM}.tar.xz"
    site = tmp_path / "site"
    run = unpack(part, "--to", site)
    assert (run.returncode, run.stderr) == (0, "")
    assert sorted(tree(site)) == [
        "av-1.0.dist-info/METADATA",
        "av-1.0.dist-info/WHEEL",
        "av.libs/libav-0123abcd.so.62.1.2",
        "av.libs/libav.so.62",
        "av.libs/libavother-0123abcd.so.7",
        "av/__init__.py",
        "bin/one",
        "one-1.0.dist-info/METADATA",
        "one-1.0.dist-info/WHEEL",
        "one/__init__.py",
        "one/more.py",
        "sgl_kernel/flash_ops.py",
    ]
    assert (site / "av.libs/libav.so.62").readlink() == Path("libav-0123abcd.so.62.1.2")
    assert (site / "sgl_kernel/flash_ops.py").read_bytes() == (STUBS / "sgl_kernel/flash_ops.py").read_bytes()
    assert made.unpacked == sum(len(data) for path, data in tree(site).items() if path != "av.libs/libav.so.62")


def test_a_command_runs_with_the_bundle_in_front_of_what_was_set(cache: Path, tmp_path: Path) -> None:
    made = pack(cache, tmp_path / "out", ONE, LIBRARY)
    site = tmp_path / "a folder's name"
    show = "import os, one; print(one.x, os.environ['PYTHONPATH'], os.environ['LD_LIBRARY_PATH'])"
    set_before = {"PYTHONPATH": "/before"}
    os.environ.pop("LD_LIBRARY_PATH", None)
    run = unpack(*made.parts, "--to", site, "--", sys.executable, "-c", show, environment=set_before)
    assert run.stdout == f"1 {site}:/before {site}/av.libs\n"
    assert unpack("--to", site, "--", "one").stdout == "program\n"
    assert unpack("--to", site, "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    assert unpack("--to", site, "--", "no-such-program").returncode == 127
    # The lines to export do the same, in any shell.
    lines = unpack("--to", site).stdout
    script = f'{lines}\nprintf \'%s|%s\' "$PYTHONPATH" "$LD_LIBRARY_PATH"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=set_before)
    assert shell.stdout == f"{site}:/before|{site}/av.libs"


def test_parts_stay_below_the_limit_and_are_archives_by_themselves(cache: Path, tmp_path: Path) -> None:
    wheel(cache, "more", {path.replace("many", "more"): os.urandom(3000).hex() for path in MANY})
    limit = 250_000
    made = pack(cache, tmp_path / "out", ONE, PADDED, Package("more", "1.0"), limit=limit)
    assert [path.name for path in made.parts] == [f"{STEM}.part1.tar.xz", f"{STEM}.part2.tar.xz"]
    assert all(size == path.stat().st_size <= limit for path, size in made.parts.items())
    names: set[str] = set()
    for path in made.parts:
        with tarfile.open(path) as archive:
            own = {member.name for member in archive if not member.name.startswith(bundle_pack.MANIFESTS)}
        assert not own & names
        names |= own
    assert set(MANY) < names

    # One call may bring one part only; the order does not matter.
    first, second = made.parts
    site = tmp_path / "site"
    run = unpack(second, "--to", site)
    assert (run.returncode, run.stdout) == (0, "")
    assert "part 1 of 2 is still to come" in run.stderr
    refused = unpack("--to", site, "--", "true")
    assert refused.returncode == 1
    assert "error[part-missing]" in refused.stderr
    run = unpack(first, "--to", site, "--", "true")
    assert run.returncode == 0
    assert set(tree(site)) == names


def test_the_same_input_gives_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    first = pack(cache, tmp_path / "a", ONE, LIBRARY)
    second = pack(cache, tmp_path / "b", ONE, LIBRARY)
    assert [path.read_bytes() for path in first.parts] == [path.read_bytes() for path in second.parts]


def test_unpacking_again_mends_what_is_missing_and_leaves_the_rest(cache: Path, tmp_path: Path) -> None:
    made = pack(cache, tmp_path / "out", ONE)
    site = tmp_path / "site"
    assert unpack(*made.parts, "--to", site).returncode == 0
    before = (site / "one/__init__.py").stat().st_mtime_ns
    assert unpack(*made.parts, "--to", site).returncode == 0
    assert (site / "one/__init__.py").stat().st_mtime_ns == before
    (site / "one/more.py").unlink()
    assert unpack(*made.parts, "--to", site, "--verify").returncode == 0
    (site / "one/more.py").write_text("y = 3\n")
    run = unpack("--to", site, "--verify")
    assert run.returncode == 1
    assert "error[file-differs]" in run.stderr


def test_another_bundle_or_a_folder_in_use_is_refused(cache: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert unpack(*pack(cache, tmp_path / "a", ONE).parts, "--to", site).returncode == 0
    before = tree(site)
    other = pack(cache, tmp_path / "b", ONE, LIBRARY)
    run = unpack(*other.parts, "--to", site)
    assert (run.returncode, tree(site)) == (1, before)
    assert "error[folder-other-bundle]" in run.stderr
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("mine")
    run = unpack(*other.parts, "--to", home)
    assert (run.returncode, tree(home)) == (1, {"letter.txt": b"mine"})
    assert "error[folder-not-empty]" in run.stderr
    run = unpack("--to", home)
    assert run.returncode == 1
    assert "error[bundle-absent]" in run.stderr


def test_another_python_is_warned_of(cache: Path, tmp_path: Path) -> None:
    made = pack(cache, tmp_path / "out", ONE, python="3.10")
    run = unpack(*made.parts, "--to", tmp_path / "site", "--", "true")
    assert run.returncode == 0
    assert run.stderr == f"warning[python]: the bundle is for Python 3.10, this is {HERE}\n"


def test_a_damaged_part_is_refused_and_counts_as_absent(cache: Path, tmp_path: Path) -> None:
    made = pack(cache, tmp_path / "out", PADDED)
    (part,) = made.parts
    whole = part.read_bytes()
    for name, data in {"cut": whole[: len(whole) // 2], "bit": whole[:90_000] + b"\0\1" + whole[90_002:]}.items():
        bad = tmp_path / f"{name}.tar.xz"
        bad.write_bytes(data)
        site = tmp_path / name
        run = unpack(bad, "--to", site)
        assert run.returncode == 1, name
        assert "error[part-damaged]" in run.stderr
        assert "Traceback" not in run.stderr
        assert "error[bundle-absent]" in unpack("--to", site, "--", "true").stderr
        # The whole part, brought again, completes the folder.
        assert unpack(part, "--to", site, "--", "true").returncode == 0


def crafted(path: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> Path:
    about = {
        "format": 1,
        "bundle": "b",
        "id": "0" * 64,
        "python": HERE,
        "part": 1,
        "parts": 1,
        "environment": {"PYTHONPATH": ["."]},
        "files": {},
        "links": {},
        **manifest,
    }
    text = json.dumps(about).encode()
    pieces = [bundle_pack.tar_member(f"{bundle_pack.MANIFESTS}/part1.json", text)]
    pieces += [bundle_pack.tar_member(name, data) for name, data in members.items()]
    path.write_bytes(lzma.compress(b"".join([*pieces, bytes(1024)])))
    return path


SHA_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.mark.parametrize(
    ("manifest", "members"),
    [
        ({"files": {"../out": [SHA_OF_X, 1]}}, {"../out": b"x"}),
        ({"files": {"/tmp/../out": [SHA_OF_X, 1]}}, {}),
        ({"files": {}}, {"more": b"x"}),
        ({"files": {"a": [SHA_OF_X, 1]}}, {}),
        ({"files": {"a": [SHA_OF_X, 1]}}, {"a": b"y"}),
        ({"files": {"a": [SHA_OF_X, 1]}}, {"a": b"xx"}),
        ({"links": {"a": "../../etc"}}, {}),
        ({"files": {f"{bundle_pack.MANIFESTS}/part2.json": [SHA_OF_X, 1]}}, {}),
    ],
    ids=["above", "absolute", "unlisted", "missing", "other", "longer", "link", "manifest"],
)
def test_a_hostile_part_writes_nothing_that_counts(
    manifest: dict[str, Any], members: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = crafted(tmp_path / "p.tar.xz", manifest, members)
    site = tmp_path / "deep" / "site"
    assert unpack_rehearsal.main([str(part), "--to", str(site)]) == 1
    assert "error[part-damaged]" in capsys.readouterr().err
    assert not (site / bundle_pack.MANIFESTS).exists()
    assert not (tmp_path / "deep" / "out").exists()


def test_what_is_no_part_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "other.tar.xz", "w:xz") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    for name, code in {"other.tar.xz": "part-unknown", "absent.tar.xz": "part-unreadable"}.items():
        assert unpack_rehearsal.main([str(tmp_path / name), "--to", str(tmp_path / "site")]) == 1
        assert f"error[{code}]" in capsys.readouterr().err
    part = crafted(tmp_path / "p.tar.xz", {"format": 2}, {})
    assert unpack_rehearsal.main([str(part), "--to", str(tmp_path / "site")]) == 1
    assert "error[part-format]" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_the_unpacker_needs_the_standard_library_alone() -> None:
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(UNPACK), "--help"], capture_output=True, text=True, check=False, cwd="/"
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_a_file_too_large_for_a_part_is_refused_and_nothing_is_written(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Refused) as refused:
        pack(cache, out, PADDED, limit=100_000)
    (finding,) = refused.value.findings
    assert finding.code == "part-size"
    assert finding.message.startswith("many/m")
    assert not out.exists()


def test_parts_of_an_earlier_run_do_not_stay(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{STEM}.part3.tar.xz").write_bytes(b"old")
    (out / "sglang-9.9.8-cp312-aarch64.tar.xz").write_bytes(b"another")
    pack(cache, out, ONE)
    assert sorted(path.name for path in out.iterdir()) == [
        "sglang-9.9.8-cp312-aarch64.tar.xz",
        f"{STEM}.tar.xz",
    ]
    blocked = tmp_path / "blocked"
    (blocked / f"{STEM}.tar.xz").mkdir(parents=True)
    with pytest.raises(Refused, match="cannot write"):
        pack(cache, blocked, ONE)
    assert [path.name for path in blocked.iterdir()] == [f"{STEM}.tar.xz"]


def test_two_packages_may_not_bring_different_files_under_one_name(cache: Path, tmp_path: Path) -> None:
    wheel(cache, "two", {"one/__init__.py": "something longer\n"})
    with pytest.raises(Refused, match=r"one and two both bring one/__init__\.py"):
        pack(cache, tmp_path / "out", ONE, Package("two", "1.0"))


def test_a_library_that_is_not_there_is_named(cache: Path, tmp_path: Path) -> None:
    package = Package("av", "1.0", links=Links("av.libs", ("av", "swscale")))
    with pytest.raises(Refused, match=r"no libswscale lies in av\.libs"):
        pack(cache, tmp_path / "out", package)


def test_what_the_image_has_is_not_carried(tmp_path: Path) -> None:
    file = tmp_path / "have.txt"
    file.write_text("# image\n-e git+x\nTorch==2.11.0+cu130\nPy_YAML\nexact.Pkg==1.0\nother @ file:///x\n\n")
    have = read_have(file)
    assert have == {"torch": "2.11.0+cu130", "py-yaml": None, "exact-pkg": "1.0", "other": None}
    packages = [
        Package("py-yaml", "6.0"),
        Package("exact-pkg", "1.0", exact=True),
        Package("other", "2.0", exact=True),
        Package("absent", "1.0"),
        Package("arm", "1.0", only="aarch64"),
    ]
    assert [package.name for package in carried(packages, have, "x86_64")] == ["other", "absent"]
    assert [package.name for package in carried(packages, have, "aarch64")] == ["other", "absent", "arm"]
    assert [package.name for package in carried(packages[1:2], {"exact-pkg": "1.1"}, "x86_64")] == ["exact-pkg"]


def test_a_wrong_list_of_packages_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "have.txt"
    file.write_text("torch==2.11.0\nPackage    Version\n")
    with pytest.raises(Refused) as refused:
        read_have(file)
    (finding,) = refused.value.findings
    assert (finding.code, str(finding.location)) == ("have-line", f"{file}:2")
    with pytest.raises(Refused, match="cannot read"):
        read_have(tmp_path / "absent.txt")


def test_an_image_with_another_torch_is_warned_of() -> None:
    wanted = spec()
    assert check_image(wanted, {"torch": "2.11.0+cu130"}) == []
    assert [finding.code for finding in check_image(wanted, {"torch": "2.13.0"})] == ["torch-version"]
    assert [finding.code for finding in check_image(wanted, {})] == ["image-lacks"]


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("", True),
        ('extra == "test"', False),
        ('(platform_machine != "aarch64" and platform_machine != "arm64") and extra == "diffusion"', False),
        ("python_version < '3.11'", False),
        ("python_version >= '3.9'", True),
        ('python_version >= "3.9" and sys_platform == "win32"', False),
        ('sys_platform == "linux" and (platform_machine == "aarch64" or platform_machine == "x86_64")', True),
        ('"linux" in sys_platform', True),
        ('platform_system not in "Windows Darwin"', True),
        ("__import__('os').getcwd()", True),
    ],
)
def test_markers_of_requirements(marker: str, holds: bool) -> None:
    assert applies(marker, "3.12", "x86_64") is holds


def test_a_requirement_that_nothing_meets_is_named(tmp_path: Path) -> None:
    lines = ["Torch>=2", "some_thing[x]>=1,<2", "huge", 'tests; extra == "test"']
    needs = "\n".join(f"Requires-Dist: {line}" for line in lines)
    path = wheel(tmp_path, "one", {}, needs=needs)
    assert requirements(path, "3.12", "x86_64") == ["torch", "some-thing", "huge"]
    (finding,) = unmet({"one": path}, {"torch": None}, spec(), "3.12", "x86_64")
    assert finding.message.startswith("some-thing, which one asks for")


def offline(monkeypatch: pytest.MonkeyPatch, links: Path | str) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))


def test_pip_brings_wheels_for_the_image_and_not_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cache = tmp_path / "source", tmp_path / "cache"
    for tags in ("cp312-cp312-manylinux_2_28_aarch64", "cp312-cp312-manylinux_2_28_x86_64", "cp311-cp311-any"):
        wheel(source, "native", {"native.so": tags}, tags=tags)
    wheel(source, "stable", {}, tags="cp39-abi3-manylinux2014_aarch64")
    offline(monkeypatch, source)
    packages = [Package("native", "1.0"), Package("stable", "1.0")]
    found = wheels(packages, "3.12", "aarch64", cache)
    assert found["native"].name == "native-1.0-cp312-cp312-manylinux_2_28_aarch64.whl"
    assert found["stable"].parent == cache
    # A second run needs neither pip nor the network.
    offline(monkeypatch, tmp_path / "nowhere")
    assert wheels(packages, "3.12", "aarch64", cache) == found


def test_without_a_network_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, cache, out = tmp_path / "source", tmp_path / "cache", tmp_path / "out"
    wheel(source, "one", {})
    offline(monkeypatch, source)
    with pytest.raises(EnvironmentProblem) as refused:
        pack(cache, out, Package("one", "1.0"), Package("absent", "1.0"))
    (finding,) = refused.value.findings
    assert finding.code == "wheel-download"
    assert "absent" in finding.message
    assert "\n" not in finding.message
    assert list(cache.iterdir()) == []
    assert not out.exists()


def test_the_command_ends_with_3_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offline(monkeypatch, tmp_path)
    arguments = ["0.5.11", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert pack_rehearsal.main(arguments) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error[wheel-download]: pip could not download")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["0.5.12", "--out", "x"], 1, "Did you mean '0.5.1"),
        (["0.5.11", "--out", "x", "--have", "absent.txt"], 1, "error[have-unreadable]"),
        (["0.5.11"], 2, "--out"),
        (["0.5.11", "--out", "x", "--part-size", "58"], 2, "58MiB"),
        (["0.5.11", "--out", "x", "--part-size", "58 MiB"], 2, "58MiB"),
        (["0.5.11", "--out", "x", "--part-size", "0MiB"], 2, "58MiB"),
        (["0.5.11", "--out", "x", "--python", "2.7"], 2, "3.12"),
        (["0.5.11", "--out", "x", "--platform", "riscv64"], 2, "aarch64"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str],
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    offline(monkeypatch, tmp_path)
    try:
        code: object = pack_rehearsal.main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == status
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size"), [("58MiB", 58 * 2**20), ("1.5GiB", 3 * 2**29), ("60MB", 60_000_000), ("2000000", 2_000_000)]
)
def test_sizes(text: str, size: int) -> None:
    made = pack_rehearsal.parser().parse_args(["0.5.11", "--out", "x", "--part-size", text])
    assert made.part_size == size


@pytest.mark.parametrize("release", KNOWN)
def test_the_data_agree_with_the_pins_of_the_wheel(release: str) -> None:
    """SGLang's own pins, read from its wheel, are what is carried, and what the image must have."""
    loaded = load_spec(release)
    carried_versions = {package.name: package.version for package in loaded.packages} | {"torch": loaded.torch}
    pins = json.loads((RELEASES / f"sglang-{release}.json").read_bytes())["pins"]
    compared = set()
    for pin in pins:
        name = pin["package"].replace("_", "-").partition("[")[0]
        if pin["source"] == "METADATA" and pin["requirement"].startswith("==") and name in carried_versions:
            assert f"=={carried_versions[name]}" == pin["requirement"], name
            compared.add(name)
    assert {"torch", "transformers", "sglang-kernel", "flashinfer-python", "xgrammar"} <= compared
    assert carried_versions["sglang"] == release
    assert not set(loaded.left_out) & set(carried_versions)
    assert all((STUBS / path).is_file() for path in loaded.stubs)


def test_a_version_of_a_package_that_is_not_described_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bundle.yaml"
    file.write_text(BUNDLE.read_text().replace("      sglang-kernel: 0.4.2", "      sglang-kernle: 0.4.2"))
    with pytest.raises(Refused) as refused:
        load_spec("0.5.11", file)
    (finding,) = refused.value.findings
    assert finding.code == "package-unknown"
    assert finding.location is not None
    assert finding.location.line is not None


STUB_PROGRAM = """
import sys, types
torch = types.ModuleType("torch")
torch.ops = types.SimpleNamespace(sgl_kernel=types.SimpleNamespace())
sys.modules["torch"] = torch
import flash_ops
for call in (torch.ops.sgl_kernel.fwd.default, torch.ops.sgl_kernel.fwd, torch.ops.sgl_kernel.get_scheduler_metadata):
    try:
        call(1, causal=True)
    except NotImplementedError as problem:
        print(f"NotImplementedError: {problem}")
"""


def test_the_stub_fails_in_the_words_that_a_gb10_shows() -> None:
    folder = STUBS / "sgl_kernel"
    command = [sys.executable, "-B", "-c", STUB_PROGRAM]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    lines = run.stdout.splitlines()
    assert len(lines) == 3
    (known,) = (
        line
        for defect in read_document(DEFECTS).value["defects"]
        for line in defect["log"]
        if line.startswith("NotImplementedError: flash_attn")
    )
    assert all(line.startswith(known) for line in lines)
