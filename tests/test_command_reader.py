"""The reader of shell text, compared with bash itself; redirections, page sources, and time."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mimo_gb10.command.arguments import read_arguments
from mimo_gb10.command.checks import check_launch
from mimo_gb10.command.reader import Lines, find_launches
from mimo_gb10.command.shell_words import read_command
from mimo_gb10.findings import Severity
from mimo_gb10.release import load_release

NEWEST = load_release("0.5.23")
SHELL = shutil.which("bash")
HEAD = "python3 -m sglang.launch_server "


def words(text: str) -> list[str]:
    return [word.text for word in read_command(text, 0).words]


def codes(text: str, release: str = "0.5.23") -> list[str]:
    lines = Lines(text, "text")
    return [
        found.code
        for launch in find_launches(text)
        for found in check_launch(launch, load_release(release), None, lines).findings
        if found.severity is not Severity.NOTE
    ]


# --- the same words as bash

PIECES = (
    "a", "--tp-size", "-x", "4", "=", "#", "{}", "@", "%", "a,b", "\u00e9", "a\u2014b", " ", "  ", "\t", "$",
    "'a b'", "'a\\b'", "'a\"b'", '"a b"', '"a\\"b"', '"a\\\\b"', '"a\\nb"', '"it\'s"', "'{\"k\": 1}'", "''", '""',
    "\\ ", "\\'", "\\#", "\\\\", "\\n", " \\\n  ", "\\\n", " # rest\n", "\n", " ; :", " && :", " &", "$'x'", '$"a b"',
    ">log", "> log", ">>'my log'", "2>&1", "2> log", "&> log", "&>>log", ">|log", ">&2", "1>log", "a2>log",
)  # fmt: skip
BASH = """exec 9>&1
python3() { printf '%s\\0' @ "$#" "$@" >&9; }
"""


def words_of_bash(text: str, folder: Path) -> list[str] | None:
    """The arguments of the launch as bash passes them; None where bash refuses the text or runs nothing."""
    assert SHELL is not None
    command = [SHELL, "--norc", "--noprofile", "-c", BASH + text]
    done = subprocess.run(command, capture_output=True, cwd=folder, env={"PATH": "/nowhere"}, check=False, timeout=20)
    mark, count, *rest = [*done.stdout.decode().split("\0"), "", ""]
    if b"syntax error" in done.stderr or mark != "@":
        return None
    return rest[2 : int(count)]


@pytest.mark.skipif(SHELL is None, reason="there is no bash here")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.just(" "), max_size=10).map("".join))
def test_the_words_are_those_of_bash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    text = HEAD + text + "\n"
    launches = find_launches(text)
    assume(len(launches) == 1 and not launches[0].oddities)
    read = launches[0].arguments
    assume(not any(word.is_open for word in read))
    theirs = words_of_bash(text, tmp_path_factory.mktemp("bash"))
    assume(theirs is not None)
    assert [word.text for word in read] == theirs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a >log b", ["a", "b"]),
        ("a>log b", ["a", "b"]),
        ("a 2>log b", ["a", "b"]),
        ("a 30000>log b", ["a", "b"]),
        ("a x2>log b", ["a", "x2", "b"]),
        ("a '2'>log b", ["a", "2", "b"]),
        ("a $X>log b", ["a", "$X", "b"]),
        ("a 2>&1 b", ["a", "b"]),
        ("a 2>&amp;1 b", ["a", "b"]),
        ("a &>log b", ["a", "b"]),
        ("a &>>log b", ["a", "b"]),
        ("a 4&>log b", ["a", "4", "b"]),
        ("a >|log b", ["a", "b"]),
        ("a >log'x y'z b", ["a", "b"]),
        ("a <in b", ["a", "b"]),
        ("a <<<text b", ["a", "b"]),
        ("a >\nb", ["a"]),
        ("a <head-ip> b", ["a", "<head-ip>", "b"]),
        ("a > <log> b", ["a", "b"]),
        ("a '>' b", ["a", ">", "b"]),
        ("a \\> b", ["a", ">", "b"]),
    ],
)
def test_redirections_are_no_arguments(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("{1,2}", True), ("{1..4}", True), ("a{b,c}d", True), ("{a}", True), ("{}", False), ("'{1,2}'", False),
        ("$'a\\tb'", True), ('$"ab"', False), ('"`x`"', True), ("`x`", True), ("'`x`'", False), ('"$(x)"', True),
        ('"$"', False), ("$", False), ("a$", False), ("'$X'", False), ("<a>", True), ("'<a>'", True),
        ("&lt;a b&gt;", True),
    ],
)  # fmt: skip
def test_what_only_the_shell_or_the_reader_can_fill(text: str, is_open: bool) -> None:
    (word,) = read_command(text, 0).words
    assert word.is_open is is_open


@pytest.mark.parametrize(
    "text", ['"$', '"`', "$'", '$"', "$(", "${", "&lt;", ">", "2>", "&>", "<", "\\", "'", '"\\', "{a,"]
)
def test_text_may_end_anywhere(text: str) -> None:
    launches = find_launches(HEAD + "--model-path " + text)
    assert len(launches) == 1
    check_launch(launches[0], NEWEST, None, Lines(text, "text"))


def test_the_source_of_a_page_is_one_finding_an_entity() -> None:
    text = HEAD + "--model-path &lt;the model&gt; --tp-size 8 &amp;&amp; echo --done\n"
    (launch,) = find_launches(text)
    assert [(oddity.kind, text[oddity.offset :][:5]) for oddity in launch.oddities] == [
        ("html-entity", "&lt;t"),
        ("html-entity", "&amp;"),
    ]
    assert launch.arguments[-1].text == "8"


@pytest.mark.parametrize("prompt", ["> ", "  > ", ">   "])
def test_the_second_prompt_of_a_shell_is_no_redirection(prompt: str) -> None:
    text = f"$ {HEAD}\\\n{prompt}--model-path /m \\\n{prompt}--tp-size x\n"
    assert codes(text) == ["flag-type"]


def test_a_redirection_without_a_target_takes_nothing_of_the_next_line() -> None:
    assert codes(HEAD + "--model-path M >\n  --tp-size x\n") == ["continuation-missing", "flag-type"]


def test_what_a_block_with_a_launch_sets_is_its_own() -> None:
    def block(text: str) -> str:
        return f"```\n{text}\n```\n"

    launch = HEAD + "--tp-size 4"
    first, second = find_launches(block("export A=1") + block(f"export B=1\n{launch}") + block(launch))
    assert list(first.env) == ["A", "B"]
    assert list(second.env) == ["A"]


# --- what the entry point does before the parser


@pytest.mark.parametrize(
    ("text", "release", "expected"),
    [
        (HEAD + "--config f.yaml", "0.5.11", []),
        (HEAD + "--config f.yaml --tp-size x", "0.5.23", ["flag-type"]),
        (HEAD + "--config=f.yaml", "0.5.23", ["flag-missing", "config-not-read"]),
        (HEAD + "--help", "0.5.23", []),
        (HEAD + "--tp-size 2 -h", "0.5.11", []),
        ("sglang serve --model-type llm M", "0.5.16", []),
        ("sglang serve --model-type=llm M", "0.5.23", []),
        ("sglang serve --model-type llm M", "0.5.15.post1", ["flag-missing", "argument-unexpected"]),
        ("sglang serve --port 1 --model-type llm --model-path M", "0.5.11", []),
        ("sglang serve --model-type diffusion --num-gpus 2 --model-path M", "0.5.23", []),
        ("sglang serve --model-type $T --model-path M", "0.5.23", []),
        ("sglang serve --model-path M --model-type", "0.5.23", ["flag-choice"]),
        ("sglang serve --model-path M --model-type vlm", "0.5.23", ["flag-choice"]),
        (HEAD + "--model-path M --model-type llm", "0.5.23", ["flag-unknown"]),
        (HEAD + "--model-path M --api-key $K $REST", "0.5.23", ["key-on-command-line"]),
        (HEAD + "--model-path M --host 0.0.0.0 $REST", "0.5.23", []),
        (HEAD + "--model-path M --host 0.0.0.0 --config f", "0.5.23", []),
        (HEAD + "--model-path M -- x", "0.5.23", ["argument-unexpected", "argument-unexpected"]),
        (HEAD + "--model-path M '--served-model=a b'", "0.5.23", []),
        (HEAD + "--model-path M '--served-model a b'", "0.5.23", ["argument-unexpected"]),
    ],
)
def test_before_and_beside_the_parser(text: str, release: str, expected: list[str]) -> None:
    assert codes(text, release) == expected


def test_a_joined_value_is_where_it_stands() -> None:
    text = HEAD + "--model-path M \\\n  --tp-size=x"
    (launch,) = find_launches(text)
    (found,) = check_launch(launch, NEWEST, None, Lines(text, "text")).findings
    assert str(found.location) == "text:2:13"


def test_an_option_without_its_optional_value_is_true_in_a_recipe() -> None:
    (launch,) = find_launches(HEAD + "--model-path M --model-checksum")
    read = read_arguments(launch.arguments, NEWEST, Lines("", "text").location)
    assert read.given[-1].value is True


def test_the_last_of_three_counts_as_given_before() -> None:
    assert codes(HEAD + "--model-path M --port 1 --port 2 --port 2").count("flag-repeated") == 1


def test_many_unknown_options_are_all_reported() -> None:
    text = HEAD + "--model-path M " + " ".join(f"--nope-{number}" for number in range(100))
    assert codes(text) == ["flag-unknown"] * 100


# --- time


def repeated(make: Callable[[int], str], size: int = 1_000_000) -> str:
    return "".join(make(number) for number in range(size // len(make(10_000))))


MEGABYTES = {
    "unknown flags": lambda: HEAD + repeated(lambda n: f"--nope{n} "),
    "known flags": lambda: HEAD + "--tp-size 4 " * 40_000 + "--port 3 " * 50_000,
    "bad values": lambda: HEAD + repeated(lambda n: f"--attention-backend tritom{n} "),
    "one list": lambda: HEAD + "--cuda-graph-bs-decode " + "1 " * 500_000,
    "leftovers": lambda: HEAD + "x " * 500_000,
    "blocks of exports": lambda: repeated(lambda n: f"```\nexport A{n}=1\n```\n") + f"```\n{HEAD}--tp-size 4\n```\n",
    "exports on one line": lambda: "export " + repeated(lambda n: f"A{n}=1 ") + "\n" + HEAD,
    "launches": lambda: repeated(lambda n: HEAD + "\n"),
    "nested": lambda: repeated(lambda n: f"bash -c '{HEAD}--tp-size 4'\n"),
    "redirections": lambda: HEAD + "1>" * 500_000,
    "digits": lambda: HEAD + "1" * 1_000_000 + ">x",
    "braces": lambda: HEAD + "{a," * 330_000,
    "entities": lambda: HEAD + "&lt;" * 250_000,
    "entities and blanks": lambda: HEAD + "&lt;a " * 160_000,
    "prompts": lambda: HEAD + "\\\n> " * 250_000,
    "one word": lambda: HEAD + "--" + "a" * 1_000_000,
}


@pytest.mark.parametrize("kind", MEGABYTES)
def test_a_megabyte_is_checked_in_linear_time(kind: str) -> None:
    text = MEGABYTES[kind]()
    start = time.process_time()
    lines = Lines(text, "text")
    for launch in find_launches(text)[:1000]:
        check_launch(launch, NEWEST, None, lines)
    # Two seconds here; quadratic time would be minutes.
    assert time.process_time() - start < 20
