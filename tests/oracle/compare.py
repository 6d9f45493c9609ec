"""Compare the committed release catalogs with SGLang's real argument parsers.

For each release, the parser of its wheel is built in the oracle's environment
(`dump_parser.py`) and compared with the catalog flag by flag. Exit code 0: no
difference; 1: differences, printed; 3: the environment is missing something.

The environment is a virtual environment with `requirements.txt` installed. The
transformers version that each release pins is installed beside it on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mimo_gb10.extract.deprecation import says_deprecated  # noqa: E402
from mimo_gb10.extract.wheel import fetch  # noqa: E402
from mimo_gb10.findings import Refused  # noqa: E402

COMPARED = ("options", "dest", "action", "type", "nargs", "choices", "const", "default", "required", "deprecated")


def expected(action: dict[str, Any]) -> dict[str, Any]:
    """What the catalog must say about an action of the real parser."""
    facts = {name: action[name] for name in COMPARED if name in action}
    facts["deprecated"] = says_deprecated(action["help"] or "", action["action"])
    return facts


def differences(catalog: dict[str, Any], actions: list[dict[str, Any]]) -> list[str]:
    """Everything in which a catalog and the real parser differ, as sentences."""
    ours = {tuple(flag["options"]): flag for flag in catalog["flags"]}
    theirs = {tuple(action["options"]): action for action in actions if action["dest"] != "help"}
    found = [f"{names[0]}: missing in the catalog" for names in theirs.keys() - ours.keys()]
    found += [f"{names[0]}: not in the real parser" for names in ours.keys() - theirs.keys()]
    for names in ours.keys() & theirs.keys():
        flag, action = ours[names], expected(theirs[names])
        unresolved = flag.get("unresolved", [])
        for name in COMPARED:
            if flag[name] != action[name] and name not in unresolved:
                found.append(f"{names[0]}: {name}: catalog {flag[name]!r}, real parser {action[name]!r}")
        if theirs[names]["new_flag"] and flag["replaced_by"] != theirs[names]["new_flag"]:
            found.append(f"{names[0]}: replaced_by: {flag['replaced_by']!r}, real parser {theirs[names]['new_flag']!r}")
    return sorted(found)


def variable_differences(catalog: dict[str, Any], declared: list[dict[str, Any]]) -> list[str]:
    """Everything in which the declared environment variables differ, as sentences."""
    ours = {variable["name"]: variable for variable in catalog["environment"] if variable["declared"]}
    theirs = {variable["name"]: variable for variable in declared}
    found = [f"{name}: missing in the catalog" for name in theirs.keys() - ours.keys()]
    found += [f"{name}: not declared" for name in ours.keys() - theirs.keys()]
    home = str(Path.home())
    for name in ours.keys() & theirs.keys():
        for key in ("type", "default"):
            real = theirs[name][key]
            if isinstance(real, str) and real.startswith(home + "/"):
                real = "~" + real[len(home) :]
            if ours[name][key] != real and key not in ours[name].get("unresolved", []):
                found.append(f"{name}: {key}: catalog {ours[name][key]!r}, real declaration {real!r}")
    return sorted(found)


def transformers_pin(wheel: Path) -> str:
    """The version of transformers that a wheel requires."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    pinned = re.search(r"^Requires-Dist: transformers==(\S+)$", text, re.MULTILINE)
    return pinned[1] if pinned else ""


def install_transformers(environment: Path, version: str) -> Path:
    """The folder that holds that version of transformers, installed if it is not there."""
    folder = environment / "transformers" / version
    if not (folder / "transformers").is_dir():
        command = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--target", str(folder)]
        subprocess.run([*command, f"transformers=={version}" if version else "transformers"], check=True)
    return folder


def dump(environment: Path, wheel: Path) -> dict[str, Any]:
    """The real parser of a wheel. Raises `subprocess.CalledProcessError`."""
    output = run_parser(environment, wheel)
    found: dict[str, Any] = json.loads(output[output.index("{") :])
    return found


def run_parser(environment: Path, wheel: Path, *arguments: str) -> str:
    """What `dump_parser.py` prints about a wheel. Raises `subprocess.CalledProcessError`."""
    libraries = install_transformers(environment, transformers_pin(wheel))
    # No variable may change a default, and nothing may ask the network.
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("SGL", "HF_"))}
    variables |= {"PYTHONPATH": str(libraries), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [str(environment / "bin" / "python"), str(HERE / "dump_parser.py"), str(wheel), *arguments],
        env=variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare release catalogs with SGLang's real argument parsers.")
    parser.add_argument("releases", nargs="*", help="releases to compare (default: every catalog)")
    parser.add_argument(
        "--env", type=Path, required=True, help="virtual environment with tests/oracle/requirements.txt"
    )
    parser.add_argument("--catalogs", type=Path, default=ROOT / "configs" / "releases", help="folder of the catalogs")
    parser.add_argument("--cache", type=Path, default=None, help="folder of downloaded wheels")
    arguments = parser.parse_args()
    failed = False
    for path in sorted(arguments.catalogs.glob("sglang-*.json")):
        catalog = json.loads(path.read_text(encoding="utf-8"))
        release = catalog["release"]
        if arguments.releases and release not in arguments.releases:
            continue
        try:
            wheel = fetch(release, arguments.cache, catalog["wheel"]["sha256"])
            dumped = dump(arguments.env.absolute(), wheel.path)
        except Refused as problem:
            print(f"{release}: {problem}", file=sys.stderr)
            return 3
        except (subprocess.CalledProcessError, OSError) as problem:
            output = getattr(problem, "stderr", None) or str(problem)
            print(f"{release}: the real parser cannot be built:\n{output[-2000:]}", file=sys.stderr)
            return 3
        found = differences(catalog, dumped["actions"])
        found += variable_differences(catalog, dumped["environment"])
        failed = failed or bool(found)
        stubs = sorted({name.partition(".")[0] for name in dumped["stubbed"]})
        count = len(dumped["actions"]) - 1
        print(
            f"{release}: {count} flags and {len(dumped['environment'])} declared variables compared, "
            f"{len(found)} differences (stand-ins: {', '.join(stubs) or 'none'})"
        )
        for line in found:
            print(f"  {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
