from __future__ import annotations

import pytest

from mimo_gb10.extract.environment import Environment, Variable, prefix_as_json, read_environment, variable_as_json
from tests.extract.snippets import evaluator

ENVIRON = """
    import os, warnings

    class EnvField:
        def __init__(self, default, secret=False):
            self.default = default
        def get(self):
            text = os.getenv(self.name)
            return self.default if text is None else self.parse(text)

    class EnvBool(EnvField): pass
    class EnvInt(EnvField): pass
    class EnvStr(EnvField): pass
    class EnvTuple(EnvField): pass

    class _Fallback:
        def __init__(self, default, deprecated_name):
            super().__init__(default)
            self.deprecated_name = deprecated_name

    class EnvIntWithAlias(_Fallback, EnvInt): pass

    def _folder():
        return os.path.join(os.path.expanduser("~/.cache"), "x")

    def _machine():
        import torch
        return torch.cuda.is_available()

    class Envs:
        SGLANG_FAST = EnvBool(False)
        SGLANG_SIZE = EnvInt(2 * 1024)
        SGLANG_NAMES = EnvTuple(tuple())
        SGLANG_FOLDER = EnvStr(_folder)
        SGLANG_MACHINE = EnvBool(_machine)
        SGLANG_NEW = EnvIntWithAlias(3, deprecated_name="SGLANG_OLD")
        SGLANG_UNUSED = EnvStr(None)
        SGLANG_ONLY_SET = EnvStr("")
        SGLANG_TABLED = EnvInt(1)
        SGLANG_FADING = EnvBool(False)
        NOT_A_VARIABLE = 3

    envs = Envs()

    def _print_deprecated_env(old, new=None):
        if old in os.environ:
            warnings.warn(f"{old} has been deprecated.")

    def convert():
        _print_deprecated_env("SGLANG_FORMER", "SGLANG_FAST")
        _print_deprecated_env("SGLANG_DEAD")
        for key, value in os.environ.items():
            if key.startswith("SGL_"):
                os.environ[key.replace("SGL_", "SGLANG_", 1)] = value

    class _Notice:
        def __init__(self, replacement=None, note=None):
            pass

    _DEPRECATED = {
        "SGLANG_NOTED": _Notice(note="Pass --noted instead."),
        "SGLANG_FORWARDED": _Notice(replacement="SGLANG_SIZE"),
    }
"""
HELPERS = """
    import os
    def flag(name, default="false"):
        return _text(name, default).lower() in ("true", "1")
    def _text(name, default):
        return os.environ.get(name, default)
    def get_int(name):
        return int(os.getenv(name) or 0)
"""
READER = '''
    """SGLANG_IN_A_DOCSTRING is not read here."""
    import os
    from os import environ
    from sglang.srt.environ import envs
    from sglang.srt.helpers import flag, get_int
    NAME = "NAMED_BY_CONSTANT"
    MODES = ("LOOPED_A", "LOOPED_B")

    def read(logger):
        envs.SGLANG_FAST.get()
        getattr(envs, "SGLANG_SIZE").get()
        envs.SGLANG_NAMES.get(); envs.SGLANG_FOLDER.get(); envs.SGLANG_MACHINE.get(); envs.SGLANG_NEW.get()
        envs.SGLANG_ONLY_SET.set("a")
        table = {"triton": ("SGLANG_TABLED", 4096)}
        os.environ["PLAIN"]; os.environ.get("WITH_DEFAULT", "d"); os.getenv("FROM_GETENV"); "TESTED" in os.environ
        environ["BARE"]
        int(os.environ.get("NUMBER", "5"))
        os.environ[NAME]
        any(os.environ.get(key) for key in MODES)
        for first, second in (("PAIRED_A", 1), ("PAIRED_B", 2)):
            os.environ.get(first)
        unrelated.SGLANG_UNUSED
        getattr(envs, "SGLANG_UNDECLARED")
        flag("FLAGGED"); flag("FLAGGED_ON", "true"); get_int("COUNTED")
        flag("not a variable")
        os.environ["SET_BY_IT"] = "1"
        os.environ.setdefault("SET_IF_UNSET", "1")
        os.environ.update(SET_BY_UPDATE="1")
        os.environ.pop("CLEARED", None)
        del os.environ["DELETED"]
        os.environ["BOTH"] = os.environ.get("BOTH", "x")
        if os.getenv("SGLANG_RETIRED") is not None:
            logger.warning("SGLANG_RETIRED has been removed. Use --other instead.")
        if envs.SGLANG_FADING.get():
            logger.warning("SGLANG_FADING is deprecated, use --fading instead")
            read = True

    @route(os.environ.get("IN_A_DECORATOR", "/r"))
    def handler():
        pass
'''
FILES = {
    "sglang/srt/environ.py": ENVIRON,
    "sglang/srt/helpers.py": HELPERS,
    "sglang/srt/reader.py": READER,
    "sglang/test/reader.py": "import os\nos.environ['ONLY_IN_TESTS']",
    "sglang/bench_serving.py": "import os\nos.environ['ONLY_IN_BENCHMARKS']",
    "sglang/launch_server.py": "import os\nos.environ['AT_THE_TOP']",
}


def environment() -> Environment:
    return read_environment(evaluator(FILES))


def variables() -> dict[str, Variable]:
    return {variable.name: variable for variable in environment().variables}


@pytest.mark.parametrize(
    ("name", "type", "default"),
    [
        ("SGLANG_FAST", "bool", False),
        ("SGLANG_SIZE", "int", 2048),
        ("SGLANG_NAMES", "tuple", []),
        ("SGLANG_FOLDER", "str", "~/.cache/x"),
        ("SGLANG_NEW", "int", 3),
    ],
)
def test_declared_variables_have_a_type_and_a_default(name: str, type: str, default: object) -> None:
    found = variables()[name]
    assert (found.type, found.default, found.declared, found.reads) == (type, default, True, True)


def test_a_default_that_depends_on_the_machine_is_listed() -> None:
    found = variables()["SGLANG_MACHINE"]
    assert found.default is None
    assert found.unresolved == ("default",)
    assert any("SGLANG_MACHINE" in problem for problem in environment().problems)


def test_only_fields_are_variables() -> None:
    assert "NOT_A_VARIABLE" not in variables()


@pytest.mark.parametrize(
    ("name", "reads", "sets"),
    [
        ("SGLANG_UNUSED", False, False),
        ("SGLANG_ONLY_SET", False, True),
        ("SGLANG_TABLED", True, False),
        ("PLAIN", True, False),
        ("TESTED", True, False),
        ("BARE", True, False),
        ("NAMED_BY_CONSTANT", True, False),
        ("LOOPED_A", True, False),
        ("LOOPED_B", True, False),
        ("PAIRED_A", True, False),
        ("PAIRED_B", True, False),
        ("IN_A_DECORATOR", True, False),
        ("AT_THE_TOP", True, False),
        ("SET_BY_IT", False, True),
        ("SET_IF_UNSET", False, True),
        ("SET_BY_UPDATE", False, True),
        ("CLEARED", False, True),
        ("DELETED", False, True),
        ("BOTH", True, True),
    ],
)
def test_reading_is_told_from_setting(name: str, reads: bool, sets: bool) -> None:
    found = variables()[name]
    assert (found.reads, found.sets) == (reads, sets)


@pytest.mark.parametrize(
    ("name", "type", "default"),
    [
        ("WITH_DEFAULT", "str", "d"),
        ("FROM_GETENV", "str", None),
        ("NUMBER", "int", 5),
        ("FLAGGED", "str", "false"),
        ("COUNTED", "int", None),
    ],
)
def test_reads_give_type_and_default(name: str, type: str, default: object) -> None:
    found = variables()[name]
    assert (found.type, found.default, found.declared) == (type, default, False)


@pytest.mark.parametrize(
    ("name", "reads", "removed", "replaced_by"),
    [
        ("SGLANG_FORMER", True, False, "SGLANG_FAST"),
        ("SGLANG_DEAD", False, True, None),
        ("SGLANG_NOTED", False, True, "--noted"),
        ("SGLANG_FORWARDED", True, False, "SGLANG_SIZE"),
        ("SGLANG_OLD", True, False, "SGLANG_NEW"),
        ("SGLANG_RETIRED", False, True, "--other"),
        ("SGLANG_FADING", True, False, "--fading"),
    ],
)
def test_deprecated_is_told_from_removed(name: str, reads: bool, removed: bool, replaced_by: str | None) -> None:
    found = variables()[name]
    assert (found.deprecated, found.reads, found.removed, found.replaced_by) == (True, reads, removed, replaced_by)


@pytest.mark.parametrize("name", ["ONLY_IN_TESTS", "ONLY_IN_BENCHMARKS", "SGLANG_IN_A_DOCSTRING", "NAME"])
def test_what_the_server_does_not_read_is_left_out(name: str) -> None:
    assert name not in variables()


def test_the_renaming_of_a_prefix_is_found() -> None:
    (rule,) = environment().prefixes
    assert prefix_as_json(rule) == {"prefix": "SGL_", "replaced_by": "SGLANG_"}


def test_sources_are_the_declaration_or_the_first_read() -> None:
    found = variables()
    line = next(number for number, text in enumerate(ENVIRON.split("\n"), 1) if "SGLANG_SIZE = " in text)
    assert found["SGLANG_SIZE"].source == f"sglang/srt/environ.py:{line}"
    line = next(number for number, text in enumerate(READER.split("\n"), 1) if '["PLAIN"]' in text)
    assert found["PLAIN"].source == f"sglang/srt/reader.py:{line}"


def test_the_catalog_leaves_out_what_is_not_so() -> None:
    assert variable_as_json(variables()["PLAIN"]) == {
        "name": "PLAIN", "type": "str", "default": None, "declared": False, "reads": True,
    }  # fmt: skip
    assert variable_as_json(variables()["SGLANG_DEAD"])["removed"] is True
    assert variable_as_json(variables()["SGLANG_MACHINE"])["unresolved"] == ["default"]
