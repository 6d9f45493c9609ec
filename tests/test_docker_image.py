"""The Dockerfile of the patched image: its lines are read, and its RUN is executed by sh on a tree of SGLang."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mimo_gb10.launch import on_example
from mimo_gb10.paths import PATCHES, RECIPES, ROOT, names_in
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.targets import container, docker
from tests.support.patch_world import World, make_world
from tests.support.run import make_stubs, run_script
from tests.support.trees import pristine

DOCKERFILE = ROOT / container.DOCKERFILE
INSIDE = "/opt/mimo-gb10"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, lines joined as Docker joins them."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = re.sub(r"\\\n", "", "\n".join(lines)).splitlines()
    return [(name, rest) for line in found if line for name, _, rest in [line.partition(" ")]]


def ignored(path: str) -> bool:
    """Whether the build does not see a file; the last pattern that matches decides."""
    out = False
    for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        # As in Docker, a star does not cross a slash, and a pattern that names a folder takes what is in it.
        parts = pattern.split("/")
        names = path.split("/")
        matches = all(fnmatch.fnmatchcase(name, part) for name, part in zip(names, parts, strict=False))
        if line and line[0] != "#" and len(parts) <= len(names) and matches:
            out = not line.startswith("!")
    return out


@dataclass(frozen=True)
class Image:
    """A scratch root that stands in for the image's file system."""

    root: Path
    site: Path

    def build(self, context: Path, defects: str) -> subprocess.CompletedProcess[str]:
        """COPY and RUN as the Dockerfile says; SGLang is what this Python imports."""
        variables = {"DEFECTS": defects}
        stubs = self.root / "bin"
        stubs.mkdir(parents=True)
        (stubs / "python3").symlink_to(sys.executable)
        environment = {"PATH": f"{stubs}{os.pathsep}/usr/bin:/bin", "PYTHONPATH": str(self.site)}
        known: dict[str, str] = {}
        done: subprocess.CompletedProcess[str] | None = None
        for name, rest in instructions():
            if name == "ARG":
                known[rest] = variables.get(rest, "")
            elif name == "FROM":
                assert rest == "${BASE_IMAGE}"
                known = {}
            elif name == "COPY":
                source, target = rest.split()
                self.copy(context, source, target)
            elif name == "RUN":
                command = rest.replace(INSIDE, f"{self.root}{INSIDE}")
                done = subprocess.run(
                    ["sh", "-c", command], env=environment | known, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    break
            else:
                assert name == "LABEL", name
        assert done is not None
        return done

    def copy(self, context: Path, source: str, target: str) -> None:
        origin = context / source
        files = [origin] if origin.is_file() else sorted(path for path in origin.rglob("*") if path.is_file())
        seen = [path for path in files if not ignored(str(path.relative_to(context)))]
        assert seen, f"COPY {source}: the build would find nothing"
        for path in seen:
            inside = target if origin.is_file() else f"{target}{path.relative_to(origin)}"
            copied = self.root / inside.lstrip("/")
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world")


@pytest.fixture
def context(tmp_path: Path, world: World) -> Path:
    """A checkout whose patches are those of the made-up world."""
    folder = tmp_path / "checkout"
    shutil.copytree(world.patches, folder / "patches")
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "apply_patches.py", folder / "scripts")
    return folder


def test_a_build_mends_what_is_listed(tmp_path: Path, world: World, context: Path) -> None:
    done = Image(tmp_path / "image", world.site).build(context, "one two")
    assert done.returncode == 0, done.stderr
    assert "mended by us" in done.stdout
    assert b"mended one" in (world.package / "srt/a.py").read_bytes()
    assert b"mended two" in (world.package / "srt/a.py").read_bytes()


@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_the_real_patches_build_the_image_of_each_recipe(tmp_path: Path, recipe: str) -> None:
    plan = plan_of(recipe)
    index = json.loads((PATCHES / "index.json").read_bytes())
    for path in [*index["files"], "sglang/__init__.py", "sglang/srt/server_args.py"]:
        source, target = pristine(plan.release) / path, tmp_path / "site" / path
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    done = Image(tmp_path / "image", tmp_path / "site").build(ROOT, " ".join(plan.defects))
    assert done.returncode == 0, done.stderr
    for name in plan.defects:
        assert re.search(rf"(?m)^{name} .*mended by us", done.stdout), name


def test_a_build_mends_nothing_else(tmp_path: Path, world: World, context: Path) -> None:
    done = Image(tmp_path / "image", world.site).build(context, "one")
    assert done.returncode == 0, done.stderr
    assert b"bug two" in (world.package / "srt/a.py").read_bytes()


@pytest.mark.parametrize(
    ("defects", "says"),
    [
        ("", "DEFECTS is empty"),
        ("  ", "DEFECTS is empty"),
        ("one three", "three"),
        ("one --revert", ""),
        ("--json", ""),
        ("one; touch pwned", "ids of defects"),
        ("$(touch pwned)", "ids of defects"),
        ("one\ntwo", "ids of defects"),
        ("*", "DEFECTS is empty"),
    ],
)
def test_a_build_fails_for_a_bad_list(tmp_path: Path, world: World, context: Path, defects: str, says: str) -> None:
    before = world.files()
    done = Image(tmp_path / "image", world.site).build(context, defects)
    assert done.returncode != 0
    assert says in done.stderr
    assert world.files() == before
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


def test_a_build_fails_for_a_source_that_is_not_known(tmp_path: Path, world: World, context: Path) -> None:
    file = world.package / "srt/a.py"
    file.write_bytes(file.read_bytes() + b"# changed\n")
    before = world.files()
    done = Image(tmp_path / "image", world.site).build(context, "one two")
    assert done.returncode != 0
    assert world.files() == before


def test_the_requirement_alone_fails_a_build(tmp_path: Path, world: World, context: Path) -> None:
    """Should the first command ever end well without a mend, the second one does not."""
    tool = context / "scripts" / "apply_patches.py"
    text = tool.read_text(encoding="utf-8")
    assert "    made = argparse" in text
    lazy = text.replace(
        'if __name__ == "__main__":', 'if "--require" not in sys.argv:\n    sys.exit(0)\nif __name__ == "__main__":'
    )
    assert lazy != text
    tool.write_text(lazy, encoding="utf-8")
    assert Image(tmp_path / "image", world.site).build(context, "one two").returncode != 0


def test_the_build_sees_the_patches_and_the_tool_only() -> None:
    index = json.loads((PATCHES / "index.json").read_bytes())
    needed = {f"patches/{patch['file']}" for entry in index["defects"] for patch in entry["patches"]}
    for path in (*needed, "patches/index.json", "scripts/apply_patches.py"):
        assert not ignored(path), path
    for path in ("README.md", ".git/config", "patches/defects.yaml", "scripts/generate.py", "configs/x/y.yaml"):
        assert ignored(path), path


def test_the_label_and_the_list_come_after_the_copies() -> None:
    """ARG behind COPY: a change of the list does not copy again; ARG before FROM is not seen behind it."""
    names = [name for name, _ in instructions()]
    assert names == ["ARG", "FROM", "COPY", "COPY", "ARG", "RUN", "LABEL"]


# --- the launch that uses it


def plan_of(recipe: str) -> LaunchPlan:
    return on_example(recipe).plan()


@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_the_script_builds_what_the_ranks_run(tmp_path: Path, recipe: str) -> None:
    make_stubs(tmp_path)
    plan = plan_of(recipe)
    assert plan.defects
    (script,) = container.prepare(plan).values()
    seen = run_script(script, tmp_path)
    assert seen.argv == [
        "docker", "build", f"--build-arg=BASE_IMAGE={plan.image}", f"--build-arg=DEFECTS={' '.join(plan.defects)}",
        f"--tag={container.image(plan)}", "--file=docker/Dockerfile", ".",
    ]  # fmt: skip
    ranks = run_script(docker.render(plan, plan.ranks[0]), tmp_path)
    assert container.image(plan) in ranks.argv
    assert plan.image not in ranks.argv
    assert re.fullmatch(r"mimo-gb10/[a-z0-9]+(-[a-z0-9]+)*:[\w][\w.-]{0,127}", container.image(plan))
    assert (ROOT / container.DOCKERFILE).is_file()


def test_the_comment_in_a_rank_script_is_the_same_command(tmp_path: Path) -> None:
    make_stubs(tmp_path)
    plan = plan_of("gb10x4-omni")
    (line,) = re.findall(r"(?m)^#   (docker build .*)$", docker.render(plan, plan.ranks[1]))
    (script,) = container.prepare(plan).values()
    assert run_script(f"exec {line}\n", tmp_path).argv == run_script(script, tmp_path).argv


def test_a_recipe_without_defects_runs_its_own_image() -> None:
    plan = plan_of("gb10x4-omni")
    bare = LaunchPlan(plan.recipe, plan.title, plan.release, plan.image, plan.cluster, plan.model_path, plan.ranks)
    assert container.image(bare) == plan.image
    assert container.prepare(bare) == {}
    assert "docker build" not in docker.render(bare, bare.ranks[0])
