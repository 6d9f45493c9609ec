"""The checks of the Markdown: each finds what it is for, at its place, and the project's pages have none of it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from mimo_gb10.docs_check import bash
from mimo_gb10.docs_check.data import check_data
from mimo_gb10.docs_check.launches import check_launches, check_made
from mimo_gb10.docs_check.markdown import read_page, read_pages
from mimo_gb10.docs_check.own import wrong_arguments
from mimo_gb10.docs_check.shell import check_shell, target_files
from mimo_gb10.docs_check.sources import check_sources
from mimo_gb10.findings import Finding
from mimo_gb10.generate.blocks import fill
from mimo_gb10.paths import ROOT
from tests.support.run import run_command

LAUNCH = "python3 -m sglang.launch_server --model-path /models/x"


def found(text: str) -> list[tuple[str, str]]:
    """Code and place of each finding in a page."""
    pages = [read_page(textwrap.dedent(text), "page.md")]
    findings: list[Finding] = [*pages[0].findings, *check_launches(pages), *check_made(pages)]
    findings += [*check_data(pages), *check_shell(pages)]
    return [(finding.code, str(finding.location)) for finding in findings]


def test_the_project_has_none() -> None:
    assert [f"{finding.location}: {finding.message}" for finding in check_sources()] == []


def test_the_command_says_so() -> None:
    done = run_command("check_docs.py")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"```bash\n{LAUNCH}\n```\n", "page.md:2:19"),
        ("~~~ text\nexport A=1\nsglang  serve --tp 4\n~~~\n", "page.md:3:1"),
        ('1. Do:\n\n    ```{.bash title="x"}\n    python launch_server.py --tp 4\n    ```\n', "page.md:4:12"),
        (f"> ```diff\n> +{LAUNCH}\n> ```\n", "page.md:2:22"),
        (f"Indented:\n\n    {LAUNCH} --tp 4\n", "page.md:3:5"),
        (f"Run `{LAUNCH} --tp 4`.\n", "page.md:1:6"),
        (f"<!-- generated: a-b -->\n<!-- /generated -->\n```sh\n{LAUNCH}\n```\n", "page.md:4:19"),
    ],
)
def test_a_launch_by_hand(text: str, place: str) -> None:
    assert ("launch-by-hand", place) in found(text)


def test_a_generated_launch_is_none() -> None:
    page = fill("<!-- generated: a-b -->\n<!-- /generated -->\n", "page.md", {"a-b": lambda: f"```bash\n{LAUNCH}\n```"})
    assert LAUNCH in page
    assert found(page) == []


def test_a_page_that_says_it_is_generated_is_made_by_something() -> None:
    text = f"# T\n\n<!-- Made from x by: make generate. Change that, not this page. -->\n```bash\n{LAUNCH}\n```\n"
    page = read_page(text, "docs/mine.md")
    assert list(check_launches([page])) == []
    assert [finding.code for finding in check_made([page])] == ["page-not-made"]
    assert list(check_made([read_page(text, "docs/recipes/gb10x4-omni.md")])) == []


def test_prose_may_name_the_command() -> None:
    assert found("It finds `sglang serve`, and `python -m sglang.launch_server` in a script.\n") == []


@pytest.mark.parametrize(
    ("block", "code", "place"),
    [
        ("bash\nif true; then echo a\n", "shell", "page.md:2:1"),
        ("bash\necho a\nkill $(cat pid)\n", "shell", "page.md:3:6"),
        ("bash\necho a\npyhton scripts/gen_launch.py\n", "program-unknown", "page.md:3:1"),
        ("bash\npython scripts/gen_launch.py --traget bash\n", "command-arguments", "page.md:2:1"),
        ("bash\npython3 scripts/gen_lunch.py\n", "command-arguments", "page.md:2:1"),
        ("bash\ncat a | sudo -E python scripts/diagnose.py --nope\n", "command-arguments", "page.md:2:9"),
        ("bash\nssh NODE 'cd x && python scripts/preflight.py --nope'\n", "command-arguments", "page.md:2:9"),
        ("bash\nmake lanch\n", "make-target", "page.md:2:1"),
        ("bash\n./launch/rank9.sh\n", "program-unknown", "page.md:2:1"),
        ("json\n{'a': 1}\n", "json-syntax", "page.md:2:2"),
        ("python\nprint 'a'\n", "python-syntax", "page.md:2:1"),
        ("toml\na = b\n", "toml-syntax", "page.md:2:1"),
        ("yaml\na: 1\na: 2\n", "yaml-duplicate-key", "page.md:3:1"),
        ("yaml\nnodes:\n  - {address: 192.168.100.10}\n  - {adress: 192.168.100.11}\n", "key-unknown", "page.md:4:6"),
        ("yaml\na: 1\n---\nb: [\n", "yaml-syntax", "page.md:4:4"),
        ("console\n$ ls\n", "fence-language", "page.md:1:1"),
        ("\nls\n", "fence-language", "page.md:1:1"),
    ],
)
def test_a_wrong_block(block: str, code: str, place: str) -> None:
    assert (code, place) in found(f"```{block}```\n")


def test_a_block_without_an_end() -> None:
    assert found("text\n\n```text\nls\n") == [("fence-open", "page.md:3:1")]


@pytest.mark.parametrize(
    "block",
    [
        "bash\nexport A=1\nA=2 python scripts/gen_launch.py gb10x4-omni --rank 0 > out.sh 2>&1\n",
        'bash\nping -M do -c 1 node\nwait_for() { curl -s "$1"; }\nwait_for http://HEAD:30000\n',
        "bash\nsudo tee /etc/x <<'EOF'\nthese words are no commands\nEOF\n",
        "bash\npython scripts/rehearse.py gb10x4-omni --cluster my-cluster.yaml --rank N\n",
        "bash\ndocker exec NAME python3 scripts/apply_patches.py --status\n",
        "yaml\nnodes:\n  - {address: 192.168.100.10}\n",
        "yaml\napiVersion: v1\nkind: Service\n---\nservices: {a: {image: b}}\n",
        "yaml\n- a\n- b\n",
        "text\nif then\n",
    ],
)
def test_a_right_block(block: str) -> None:
    assert found(f"```{block}```\n") == []


def test_files_that_a_target_writes_are_commands() -> None:
    names = target_files()
    assert "build-image.sh" in names
    for name in names:
        if name.endswith(".sh"):
            assert found(f"```bash\n./launch/{name}\n```\n") == []


def test_inline_commands_are_read_too() -> None:
    assert found("Run `python scripts/generate.py releases --ad 1` or `make generte`.\n") == [
        ("command-arguments", "page.md:1:6"),
        ("make-target", "page.md:1:54"),
    ]
    assert found("Run `python scripts/generate.py releases --add VERSION`, then `make generate`; `make` alone.\n") == []


def test_every_command_has_a_parser_that_is_asked() -> None:
    for script in sorted((ROOT / "scripts").glob("*.py")):
        name = f"scripts/{script.name}"
        assert wrong_arguments(name, ["--no-such-option"]), name
        assert wrong_arguments(name, ["--help"]) == "", name


def test_commands_of_a_block() -> None:
    text = "for i in 1 2; do A=1 ssh \"node$i\" 'a b' > /dev/null & done\nf() { ls $(pwd) | wc -l; }\ncat <<E\nno\nE\n"
    words = [command.words for command in bash.commands(text)]
    assert words == [("ssh", "node$i", "a b"), ("ls", "$(pwd)"), ("pwd",), ("wc", "-l"), ("cat",)]
    assert bash.functions(text) == {"f"}


def test_a_page_keeps_its_places() -> None:
    text = "a `b`\n\n    ````bash\n    ls\n    ```\n    x\n    ````\n\nc `d`"
    page = read_page(text, "p.md")
    fence = page.fences[0]
    assert (fence.text, fence.line, fence.column, fence.language) == ("ls\n```\nx", 4, 5, "bash")
    assert len(page.prose) == len(text.split("\n"))
    assert [(span.text, span.line, span.column) for span in page.spans] == [("b", 1, 4), ("d", 9, 4)]


def test_all_pages_are_read(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/index.md", "docs/deep/page.md"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert len(read_pages(tmp_path)) == 5
