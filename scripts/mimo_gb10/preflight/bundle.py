"""One self-contained program out of the modules that run on a node, for ``ssh NODE python3 -``."""

from __future__ import annotations

import base64
import io
import json
import tarfile

from mimo_gb10.paths import PATCHES, ROOT
from mimo_gb10.preflight.read_docker import ANSWER
from mimo_gb10.preflight.wanted import Wanted, WantedRecipe

NODE_MODULES = (
    "mimo_gb10",
    "mimo_gb10.names",
    "mimo_gb10.text",
    "mimo_gb10.text.suggest",
    "mimo_gb10.preflight",
    *(
        f"mimo_gb10.preflight.{name}"
        for name in (
            *("machine", "recorded", "wanted", "results", "facts", "checks", "node"),
            *("read_system", "read_network", "read_docker", "read_weights"),
            *("check_system", "check_container", "check_fabric", "check_reach", "check_weights"),
        )
    ),
)
"""The modules that travel. They import one another and the standard library, nothing else."""

_PACKAGES = ("mimo_gb10", "mimo_gb10.text", "mimo_gb10.preflight")

# Every Python since 2.7 must be able to read this frame, so that an old one can say that it is too old.
_FRAME = """# Reads this machine for preflight.py of mimo-gb10, and changes nothing. The sources are in the text below.
import json, sys
MARK = {mark!r}
if sys.version_info < (3, 10):
    sys.stdout.write("\\n" + MARK + json.dumps({{"old_python": "%d.%d.%d" % sys.version_info[:3]}}) + "\\n")
    sys.exit(0)
import importlib.abc, importlib.util
PACKAGES = {packages!r}
SOURCES = json.loads({sources!r})
GIVEN = {given!r}


class Sources(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in SOURCES:
            return importlib.util.spec_from_loader(name, self, is_package=name in PACKAGES)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(SOURCES[module.__name__], "<preflight: %s>" % module.__name__, "exec"), module.__dict__)


sys.dont_write_bytecode = True
sys.meta_path.insert(0, Sources())
from mimo_gb10.preflight.node import program_main

sys.exit(program_main(sys.argv[1:], GIVEN))
"""


def _source(name: str) -> str:
    path = ROOT / "scripts" / name.replace(".", "/")
    file = path / "__init__.py" if name in _PACKAGES else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def program(wanted: Wanted, rank: int, *, record: bool = False) -> str:
    """The program that examines one node.

    Args:
        wanted: What is to be checked.
        rank: Which node of the cluster the machine is that it will run on.
        record: Whether the answer holds everything that was read.
    """
    from mimo_gb10.preflight.node import MARK

    job = {"wanted": wanted.as_dict(), "rank": rank, "record": record}
    return _FRAME.format(
        mark=MARK,
        packages=_PACKAGES,
        sources=json.dumps({name: _source(name) for name in NODE_MODULES}),
        given=json.dumps(job),
    )


_IN_IMAGE = """# Asks an image which NCCL it loads and which defects its SGLang has, in a container of its own.
import base64, contextlib, importlib.metadata, io, json, os, subprocess, sys, tarfile, tempfile
ENV, DEFECTS, FILES = {env!r}, {defects!r}, {files!r}
answer = {{}}


def nccl():
    # As SGLang finds it: the file of SGLANG_NCCL_SO_PATH, else what the loader gives once torch is there.
    code = (
        "import ctypes, os\\n"
        "name = os.environ.get('SGLANG_NCCL_SO_PATH')\\n"
        "if not name:\\n"
        "    import torch\\n"
        "    name = 'libnccl.so.2'\\n"
        "number = ctypes.c_int()\\n"
        "assert ctypes.CDLL(name).ncclGetVersion(ctypes.byref(number)) == 0\\n"
        "number = number.value\\n"
        "print('NCCL', number // 10000, number // 100 % 100, number % 100)\\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={{**os.environ, **ENV}}, capture_output=True, text=True)
    words = [line.split() for line in done.stdout.splitlines() if line.startswith("NCCL ")]
    if not words:
        raise ValueError((done.stderr.strip().splitlines() or ["no answer"])[-1])
    return ".".join(words[-1][1:])


def patches():
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(FILES)), mode="r:xz") as archive:
            archive.extractall(folder)
        command = [sys.executable, os.path.join(folder, "apply_patches.py"), "--status", "--json", *DEFECTS]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or ["no answer"])[0])
    return {{item["id"]: item["status"] for item in json.loads(done.stdout)["defects"]}}


try:
    answer["sglang"] = importlib.metadata.version("sglang")
except Exception:
    answer["sglang"] = None
for name, ask in (("nccl", nccl), ("patches", patches)):
    try:
        answer[name] = ask()
    except Exception as problem:
        answer[name + "_problem"] = "%s" % problem
print("\\n" + {answer!r} + json.dumps(answer))
"""


def image_program(recipe: WantedRecipe) -> str:
    """The program that asks a recipe's image, to be run by the ``python3`` of a container that is thrown away."""
    env = {name: value for name, value in recipe.env.items() if name in ("LD_PRELOAD", "SGLANG_NCCL_SO_PATH")}
    return _IN_IMAGE.format(env=env, defects=list(recipe.defects), files=_patch_files(), answer=ANSWER)


def _patch_files() -> str:
    """``apply_patches.py`` and ``patches/`` as one compressed archive in base64."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        archive.add(ROOT / "scripts" / "apply_patches.py", "apply_patches.py")
        archive.add(PATCHES, "patches")
    return base64.b64encode(packed.getvalue()).decode()
