"""Bad input through the real command: what it exits with, what it shows, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import gen_launch

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, str(ROOT / "scripts" / "gen_launch.py")]
CASES = Path(__file__).parent / "cases"
TABLE: dict[str, Any] = yaml.safe_load((CASES / "commands.yaml").read_text(encoding="utf-8"))

# Root reads and writes everything by these two capabilities; without them permissions hold for root as well.
DROP = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
MIB = 1024 * 1024
ESCAPE = "\x1b["

# Runs a command and says on the last line of stderr how many seconds it computed and how much memory it had, in KiB.
# It is a small process itself: a child's peak can begin at its parent's.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def run(
    *arguments: str | bytes,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """The command, started by the words `before`, with output read as UTF-8 whatever the locale is."""
    return subprocess.run(
        [*before, *COMMAND, *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env={**clean_environment(), **(env or {})},
        check=False,
        timeout=60,
    )


def clean_environment() -> dict[str, str]:
    """This process's environment without what changes colours."""
    return {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}


def listing(folder: Path) -> list[tuple[str, int, bytes]]:
    """Every path below a folder, with its mode and content."""
    return [
        (str(path.relative_to(folder)), path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    ]


def error_codes(text: str) -> list[str]:
    return re.findall(r"^(?:\S.*?: )?error\[([a-z-]+)\]: ", text, flags=re.MULTILINE)


def refused(done: subprocess.CompletedProcess[str], *codes: str) -> None:
    """A refusal: exit code 1, findings on stderr, nothing else."""
    assert "Traceback" not in done.stderr
    assert error_codes(done.stderr) == list(codes)
    assert done.stdout == ""
    assert done.returncode == 1


@pytest.fixture(scope="module")
def unprivileged() -> Sequence[str]:
    """The words that start a command for which file permissions hold."""
    if os.geteuid() != 0:
        return ()
    if shutil.which(DROP[0]) is None or not permissions_hold(DROP):
        pytest.skip("root reads everything, and setpriv cannot take that from it here")
    return DROP


def permissions_hold(before: Sequence[str]) -> bool:
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0)
        return subprocess.run([*before, "cat", file.name], capture_output=True, check=False).returncode != 0


@pytest.fixture(scope="module")
def stage() -> Iterator[Path]:
    """The folder that commands.yaml describes; tests leave it as it is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file").write_text("a file\n")
        (folder / "folder").mkdir()
        (folder / "blocked" / "rank1.sh").mkdir(parents=True)
        (folder / "blocked" / "rank0.sh").write_text("an older script\n")
        (folder / "cluster.yaml").write_text("name: mine\n")
        recipe = (CASES / "valid" / "recipe-plain.yaml").read_text()
        (folder / "flags-list.yaml").write_text(
            recipe.replace("recipe-plain", "flags-list").replace("  tensor-parallel-size: 4\n", "  [a]\n")
        )
        (folder / "big.yaml").write_bytes(recipe.encode() + b"# comment\n" * MIB)
        (folder / "locked.yaml").write_text(recipe)
        (folder / "locked.yaml").chmod(0)
        (folder / "locked").mkdir(mode=0o000)
        yield folder
        (folder / "locked").chmod(0o700)


@pytest.mark.parametrize("name", sorted(name for name in TABLE if not name.startswith("set-")))
def test_a_command_line_is_refused(name: str, stage: Path, request: pytest.FixtureRequest) -> None:
    entry = TABLE[name]
    before = visible_part(stage)
    started_by = request.getfixturevalue("unprivileged") if entry.get("permissions") else ()
    done = run(*arguments_of(entry, stage), cwd=stage, before=started_by)
    assert "Traceback" not in done.stderr
    check_refusal(entry, stage, done.returncode, done.stdout, done.stderr)
    assert visible_part(stage) == before


# Many, and the same but for their text: one process does.
@pytest.mark.parametrize("name", sorted(name for name in TABLE if name.startswith("set-")))
def test_an_override_is_refused(name: str, stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = gen_launch.main(arguments_of(TABLE[name], stage))
    shown = capsys.readouterr()
    check_refusal(TABLE[name], stage, code, shown.out, shown.err)


def arguments_of(entry: Mapping[str, Any], stage: Path) -> list[str]:
    return [argument.replace("{tmp}", str(stage)) for argument in entry["arguments"]]


def check_refusal(entry: Mapping[str, Any], stage: Path, code: int, out: str, err: str) -> None:
    assert out == ""
    assert error_codes(err) == entry.get("codes", [])
    assert entry["text"] in err
    assert code == entry.get("exit", 1)
    if "at" in entry:
        assert f"{entry['at'].replace('{tmp}', str(stage))}: error[{entry['codes'][0]}]" in err


def visible_part(stage: Path) -> list[tuple[str, int, bytes]]:
    return [row for name in ("folder", "blocked") for row in listing(stage / name)] + [
        (path.name, path.lstat().st_mode, b"") for path in sorted(stage.iterdir())
    ]


# --- size, depth, aliases: refused quickly, with bounded memory


def base_recipe() -> str:
    return (CASES / "valid" / "recipe-plain.yaml").read_text().replace("recipe-plain", "hostile")


def alias_bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return base_recipe() + "\n".join(lines) + "\n"


def replaced(old: str, new: str) -> str:
    text = base_recipe()
    assert old in text
    return text.replace(old, new)


HOSTILE: dict[str, Callable[[], str]] = {
    "alias bomb": alias_bomb,
    "alias bomb of long text": lambda: base_recipe() + f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 100_000)}]\n",
    "deep lists": lambda: base_recipe() + "a: " + "[" * 1_000_000,
    "deep mappings": lambda: base_recipe() + "a: " + "{a: " * 300_000,
    "deep blocks": lambda: base_recipe() + "a:\n" + "".join(" " * n + "a:\n" for n in range(1, 2000)),
    "deep dashes": lambda: base_recipe() + "a:\n" + "- " * 100_000,
    "comments": lambda: base_recipe() + "#" * 10 * MIB,
    "one long word": lambda: replaced("A recipe", "x" * 3 * MIB) + "titel: x\n",
    "one long key": lambda: base_recipe() + '? "' + "x" * MIB + '"\n: x\n',
    "one long flag value": lambda: replaced("env:", f"  attention-backend: {'x' * MIB}\nenv:"),
    "many wrong values": lambda: replaced("defects: []", f"defects: [{', '.join(['1'] * 100_000)}]"),
    "many mappings in a set": lambda: replaced(
        "defects: []", f"defects: [{', '.join(f'{{a: {n}}}' for n in range(2_000))}]"
    ),
    "many unknown keys": lambda: base_recipe() + "".join(f"titel{n}: x\n" for n in range(10_000)),
    "many unknown flags": lambda: replaced("env:", "".join(f"  mem-fraction-{n}: 1\n" for n in range(1_000)) + "env:"),
    "many unknown variables": lambda: replaced(
        "env: {}", "env:\n" + "".join(f'  SGLANG_ENABLE_{n}: "1"\n' for n in range(1_000))
    ),
    "a number of a million digits": lambda: replaced("nodes: 4", f"nodes: {'9' * MIB}"),
    "brackets in a JSON value": lambda: replaced("env:", f"  mm-process-config: '{'[' * 100_000}'\nenv:"),
}


def measured(path: Path) -> tuple[subprocess.CompletedProcess[str], float, int]:
    """A launch of a file with what it cost: seconds of the processor, and the most memory in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *COMMAND, str(path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    seconds, peak = done.stderr.splitlines()[-1].split()
    return done, float(seconds), int(peak)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files_cost_little(name: str, tmp_path: Path) -> None:
    """A second, or little more than an ordinary file with a mistake costs here and now: a machine may be slow."""
    hostile, ordinary = tmp_path / "hostile.yaml", tmp_path / "ordinary.yaml"
    hostile.write_text(HOSTILE[name](), encoding="utf-8")
    ordinary.write_text(base_recipe() + "titel: x\n", encoding="utf-8")
    _, usual, _ = measured(ordinary)
    done, seconds, peak = measured(hostile)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.returncode == 1
    assert error_codes(done.stderr)
    assert seconds < max(1, 4 * usual)
    assert peak < 150 * 1024


def test_hundreds_of_mistakes_are_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(base_recipe() + "".join(f"titel{n}: x\n" for n in range(1_000)))
    done = run(str(path))
    codes = error_codes(done.stderr)
    assert set(codes) == {"too-many", "key-unknown"}
    assert codes.count("too-many") == 1
    assert 100 <= codes.count("key-unknown") < 1_000
    assert (done.returncode, done.stdout) == (1, "")


# --- numbers and names that a check must survive


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", f"cluster.nodes.{'1' * 5000}.address=x"],
        ["--set", f"cluster.serve.port={'1' * 5000}"],
        ["--set", f"cluster.serve.port=0x{'f' * 5000}"],
        ["--set", f"cluster.serve.port=0{'1' * 5000}"],
        ["--set", f"flags.page-size=0x{'f' * 5000}"],
        ["--set", "flags.tensor-parallel-size=0"],
        ["gb10x4-mtp", "--set", "flags.tensor-parallel-size=0"],
        ["gb10x4-mtp", "--set", "flags.tensor-parallel-size=-4"],
        ["--set", f"flags.mm-process-config={'[' * 100_000}"],
        ["--out", "a" * 300],
        ["--new-cluster", "a" * 300],
        ["a" * 300 + ".yaml"],
        ["a" * 5000],
        ["--cluster", "a" * 5000 + "/b"],
    ],
    ids=lambda arguments: re.sub(r"(.)\1{9,}", r"\1...", " ".join(arguments)),
)
def test_numbers_and_names_of_any_size_are_findings(arguments: Sequence[str], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert error_codes(done.stderr)
    assert done.stdout == ""
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


# --- bytes that are no text


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ([b"caf\xe9"], ["recipe-unknown"]),
        ([b"./caf\xe9.yaml"], ["file-missing"]),
        ([b"--cluster", b"caf\xe9"], ["cluster-unknown"]),
        ([b"--set", b"flags.served-model-name=caf\xe9"], ["control-character"]),
        ([b"--set", b"flags.caf\xe9=1"], ["key-name"]),
        ([b"--set", b"env.A=caf\xe9"], ["control-character"]),
        ([b"--set", b"cluster.model_path=/caf\xe9"], ["control-character"]),
        ([b"--set", b"caf\xe9"], ["set-form"]),
        ([b"--new-cluster", b"/nope/caf\xe9.yaml"], ["out-unwritable"]),
    ],
)
def test_bytes_that_are_no_text(arguments: Sequence[bytes], codes: Sequence[str]) -> None:
    refused(run(*arguments, env={"LC_ALL": "C"}), *codes)


def test_bytes_that_are_no_text_in_usage_errors() -> None:
    done = run("--target", b"caf\xe9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_bytes_that_are_no_text_in_a_folder_name(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    done = run("--out", folder)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in Path(os.fsdecode(folder)).iterdir())
    assert names == ["rank0.sh", "rank1.sh", "rank2.sh", "rank3.sh", "start-order.txt"]


# --- what comes out, and where


def plain_recipe(*arguments: str) -> list[str]:
    return [str(CASES / "valid" / "recipe-plain.yaml"), *arguments]


def many_nodes(folder: Path) -> list[str]:
    """A launch whose scripts are larger than a pipe holds."""
    recipe = folder / "recipe.yaml"
    text = (CASES / "valid" / "recipe-plain.yaml").read_text()
    text = text.replace("nodes: 4", "nodes: 250").replace("tensor-parallel-size: 4", "pipeline-parallel-size: 250")
    recipe.write_text(text.replace("recipe-plain", "recipe"))
    cluster = folder / "cluster.yaml"
    text = (CASES / "valid" / "cluster-one-node.yaml").read_text().replace("cluster-one-node", "cluster")
    nodes = "".join(f"  - {{address: 10.0.0.{n}}}\n" for n in range(250))
    cluster.write_text(text.replace("  - {address: 127.0.0.1}\n", nodes))
    return [str(recipe), "--cluster", str(cluster)]


def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    arguments = many_nodes(tmp_path)
    whole = run(*arguments)
    assert whole.returncode == 0
    assert len(whole.stdout) > 100_000, "a pipe holds 64 KiB"
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"#!/usr/bin/env bash\n"
        process.stdout.close()
        assert process.stderr.read().decode() == whole.stderr
        assert process.wait(timeout=30) == 0


def test_a_reader_that_was_never_there() -> None:
    end, pipe = os.pipe()
    os.close(end)
    try:
        done = subprocess.run(
            [*COMMAND, *plain_recipe("--rank", "0")], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(pipe)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_a_refusal_stays_one_when_nobody_reads_the_findings() -> None:
    end, pipe = os.pipe()
    os.close(end)
    try:
        done = subprocess.run([*COMMAND, "nope"], stdout=subprocess.PIPE, stderr=pipe, check=False)
    finally:
        os.close(pipe)
    assert (done.returncode, done.stdout) == (1, b"")


def with_shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command, "bash", *COMMAND], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("arguments", ["", "--json", "--list", "--explain", "--check"])
def test_a_closed_stdout(arguments: str) -> None:
    done = with_shell(f'"$@" {arguments} >&-')
    assert "Traceback" not in done.stderr
    assert done.returncode != 1 or error_codes(done.stderr)


def test_a_closed_stderr() -> None:
    done = with_shell('"$@" nope 2>&-')
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_and_is_no_success() -> None:
    done = with_shell('"$@" >/dev/full')
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert done.returncode not in (0, 2)


def on_a_terminal(*arguments: str, **env: str) -> tuple[int, str]:
    """Exit code and output of the command on a pseudo-terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [*COMMAND, *arguments], {**clean_environment(), "TERM": "xterm", **env})
    shown = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_colours_on_a_terminal() -> None:
    code, shown = on_a_terminal("gb10x4-omni")
    assert code == 0
    assert f"{ESCAPE}1;33mwarning[" in shown
    assert "start order" in shown


def test_colours_of_a_refusal_on_a_terminal() -> None:
    code, shown = on_a_terminal("nope")
    assert code == 1
    assert f"{ESCAPE}1;31merror[recipe-unknown]" in shown


@pytest.mark.parametrize(
    ("arguments", "env"),
    [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
    ids=["--no-color", "NO_COLOR", "dumb terminal"],
)
@pytest.mark.parametrize("recipe", ["gb10x4-omni", "nope"])
def test_no_colours_where_none_are_wanted(recipe: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
    _, shown = on_a_terminal(recipe, *arguments, **env)
    assert len(shown) > 50
    assert "\x1b" not in shown


@pytest.mark.parametrize("arguments", [[], ["--explain"], ["--list"], ["--check"], ["nope"], ["--json"]])
def test_a_pipe_gets_plain_text(arguments: Sequence[str]) -> None:
    done = run(*arguments, env={"TERM": "xterm"})
    assert done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    done = run(f"./{ESCAPE}2J.yaml", cwd=tmp_path)
    refused(done, "file-missing")
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--json"]])
def test_strict_makes_warnings_errors(arguments: Sequence[str]) -> None:
    lenient = run("gb10x4-post", *arguments)
    assert lenient.returncode == 0
    assert lenient.stdout
    strict = run("gb10x4-post", *arguments, "--strict")
    assert strict.returncode == 1
    assert strict.stdout == ""
    assert "warning[" in strict.stderr
    assert "Traceback" not in strict.stderr


def test_check_prints_no_launch() -> None:
    done = run(*plain_recipe("--check"))
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "no errors" in done.stdout
    assert "sglang.launch_server" not in done.stdout


def test_check_refuses_what_a_launch_refuses() -> None:
    refused(run("--check", "--set", "flags.nope=1"), "flag-unknown")


def test_json_of_a_launch_is_json() -> None:
    done = run(*plain_recipe("--json"))
    plan = json.loads(done.stdout)
    assert [rank["rank"] for rank in plan["ranks"]] == [0, 1, 2, 3]
    assert done.returncode == 0


def test_json_of_a_refused_launch_is_nothing() -> None:
    refused(run("--json", "--set", "flags.nope=1"), "flag-unknown")


@pytest.mark.parametrize("value", ["nope", "no\x1bpe", "日本語", "a\nb"])
def test_json_of_findings_is_json(value: str) -> None:
    done = run("--check", "--json", "--set", f"flags.attention-backend={value}")
    findings = json.loads(done.stdout)
    errors = [found for found in findings if found["severity"] == "error"]
    assert {found["file"] for found in errors} == {f"--set flags.attention-backend={value}"}
    assert "flag-choice" in {found["code"] for found in errors}
    assert (done.returncode, done.stderr) == (1, "")


def test_json_of_findings_about_bytes_is_json() -> None:
    done = run("--check", "--json", "--set", b"env.A=caf\xe9")
    assert [found["code"] for found in json.loads(done.stdout) if found["severity"] == "error"] == ["control-character"]


def test_json_of_a_lookup_that_fails_is_json() -> None:
    done = run("nope", "--check", "--json")
    assert [found["code"] for found in json.loads(done.stdout) if found["severity"] == "error"] == ["recipe-unknown"]
    assert done.returncode == 1


@pytest.mark.parametrize("locale", ["C", "xx_XX.ISO-8859-1"])
def test_the_locale_changes_nothing(locale: str, tmp_path: Path) -> None:
    recipe = str(CASES / "valid" / "recipe-unicode.yaml")
    env = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    here, there = run(recipe), run(recipe, env=env)
    assert "模型 🚀" in here.stdout
    assert (there.returncode, there.stdout) == (0, here.stdout)
    assert run(recipe, "--out", str(tmp_path / "out"), env=env).returncode == 0
    assert "模型 🚀" in (tmp_path / "out" / "rank0.sh").read_text(encoding="utf-8")


def test_findings_are_the_same_in_the_c_locale() -> None:
    path = str(CASES / "invalid" / "recipe-unknown-key-position.yaml")
    done = run(path, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    refused(done, "key-unknown")
    assert "süß" in done.stderr


def test_from_another_folder(tmp_path: Path) -> None:
    there = run("--rank", "0", cwd=tmp_path)
    assert there.returncode == 0
    assert there.stdout == run("--rank", "0", cwd=ROOT).stdout
    for line in there.stderr.splitlines():
        if "warning[" in line:
            assert (tmp_path / line.partition(":")[0]).is_file()


def test_a_path_is_taken_from_where_the_user_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("[\n")
    done = run("mine.yaml", cwd=tmp_path)
    refused(done, "yaml-syntax")
    assert done.stderr.startswith("mine.yaml:")


# --- nothing half-written


def test_out_writes_all_or_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "rank1.sh").mkdir(parents=True)
    (folder / "rank0.sh").write_text("an older script\n")
    before = listing(folder)
    refused(run("--out", str(folder)), "out-unwritable")
    assert listing(folder) == before


def test_out_makes_no_folder_for_a_refused_launch(tmp_path: Path) -> None:
    refused(run("--out", str(tmp_path / "a" / "b"), "--set", "flags.nope=1"), "flag-unknown")
    assert list(tmp_path.iterdir()) == []


def test_out_into_a_folder_that_cannot_be_written(unprivileged: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "out"
        folder.mkdir()
        folder.chmod(0o555)
        done = run("--out", str(folder), before=unprivileged)
        refused(done, "out-unwritable")
        assert "Permission denied" in done.stderr
        assert list(folder.iterdir()) == []


def test_out_replaces_scripts_whole(tmp_path: Path) -> None:
    (tmp_path / "rank0.sh").write_text("an older script\n" * 1000)
    done = run(*plain_recipe("--out", str(tmp_path)))
    assert done.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"rank{n}.sh" for n in range(4)), "start-order.txt"]
    assert (tmp_path / "rank0.sh").read_text() == run(*plain_recipe("--rank", "0")).stdout
    assert (tmp_path / "rank0.sh").stat().st_mode & 0o777 == 0o755


def test_new_cluster_leaves_an_existing_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\n")
    before = listing(tmp_path)
    refused(run("--new-cluster", str(path)), "file-exists")
    assert listing(tmp_path) == before


def test_new_cluster_does_not_follow_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    refused(run("--new-cluster", str(tmp_path / "mine.yaml")), "file-exists")
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_a_new_cluster_is_a_valid_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert run("--new-cluster", str(path)).returncode == 0
    done = run("--cluster", str(path), "--check")
    assert done.returncode == 0
    assert "error[" not in done.stderr
    assert "config-name" not in done.stderr


# --- a value can never start a second command


@pytest.mark.parametrize("name", ["A\n", "A\nreboot", "A=$(reboot)", "A;reboot", "A`reboot`", "A B"])
def test_a_variable_name_cannot_begin_a_command(name: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(base_recipe().replace("hostile", "recipe").replace("env: {}", f"env: {json.dumps({name: 'x'})}"))
    refused(run(str(recipe)), "key-name")


@pytest.mark.parametrize("key", ["socket_interface", "rdma_devices"])
@pytest.mark.parametrize("value", ["eth0\n", "eth0\nreboot", "$(reboot)\n", "eth0 reboot", "eth\x1b0"])
def test_a_fabric_name_cannot_begin_a_line(key: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps(value)
    override = f"cluster.fabric.{key}={f'[{text}]' if key == 'rdma_devices' else text}"
    assert gen_launch.main(["--set", override]) == 1
    shown = capsys.readouterr()
    assert (shown.out, error_codes(shown.err)) == ("", ["value-form"])


LONG = "x" * 50_000


LONG_VALUES = {
    "unknown key": ("title: A recipe", f'title: A recipe\n? "{LONG}"\n: x'),
    "duplicate key": ("title: A recipe", f'title: A recipe\n? "{LONG}"\n: x\n? "{LONG}"\n: x'),
    "tag": ("title: A recipe", f"title: !{LONG} A recipe"),
    "alias": ("title: A recipe", f"title: *{LONG}"),
    "model": ("model: mimo-v2.5", f"model: {LONG}"),
    "release": ("sglang: 0.5.23", f"sglang: 0.5.{'9' * 4000}"),
    "wrong type": ("nodes: 4", f"nodes: {LONG}"),
    "ambiguous number": ("nodes: 4", f"nodes: 0b{'1' * 50_000}"),
    "flag": ("  tensor", f"  ? {LONG}\n  : 1\n  tensor"),
    "flag choice": ("  tensor", f"  attention-backend: {LONG}\n  tensor"),
    "flag type": ("  tensor", f"  mem-fraction-static: {LONG}\n  tensor"),
    "variable value": ("env: {}", f"env: {{DISABLE_OPENAPI_DOC: {LONG}}}"),
    "placeholder": ("env: {}", f"env: {{A: '{{{LONG}}}'}}"),
    "variable": ("env: {}", f"env: {{? SGLANG_{LONG} : x}}"),
    "secret": ("env: {}", f"env: {{? {LONG}_TOKEN : x}}"),
    "defect": ("defects: []", f"defects: [{LONG}]"),
}


@pytest.mark.parametrize("name", sorted(LONG_VALUES))
def test_a_long_value_is_shown_short(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(replaced(*LONG_VALUES[name]))
    assert gen_launch.main([str(path)]) == 1
    shown = capsys.readouterr().err
    assert error_codes(shown)
    assert max(map(len, shown.splitlines())) < 2000
