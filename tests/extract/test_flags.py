from __future__ import annotations

from typing import Any

import pytest

from mimo_gb10.extract.flags import Flag, Parser, flag_as_json, flag_sort_key
from mimo_gb10.extract.values import Unresolved
from tests.extract.snippets import REGISTRAR, parser_of


def by_option(parser: Parser) -> dict[str, Flag]:
    assert parser.problems == ()
    return {flag.options[0]: flag for flag in parser.flags}


def facts(flag: Flag) -> dict[str, Any]:
    """What differs from a plain text option."""
    usual: dict[str, Any] = {
        "action": "store",
        "type": "str",
        "nargs": None,
        "choices": None,
        "const": None,
        "default": None,
    }
    usual |= {"required": False, "deprecated": False, "replaced_by": None}
    found = flag_as_json(flag)
    del found["options"], found["dest"]
    return {key: value for key, value in found.items() if key not in usual or usual[key] != value}


CALLS = """
    import argparse, json
    from .names import PARSERS, MODES
    from .actions import DeprecatedSwitch, DeprecatedAlias, DeprecatedGone, Paths

    def size(text):
        return int(text)

    class ServerArgs:
        port: int = 30000
        level: str = "info"

        @staticmethod
        def add_cli_args(parser):
            parser.add_argument("--port", "-p", type=int, default=ServerArgs.port, help="Where to listen.")
            parser.add_argument("--model", type=str, required=True)
            parser.add_argument("--level", type=str, default=ServerArgs.level, choices=sorted(MODES))
            names = list(PARSERS.keys())
            group = parser.add_argument_group("more")
            group.add_argument("--parser", type=str, choices=["auto"] + names, help=f"One of {names}.")
            parser.add_argument("--fast", action="store_true", help="Replaces the deprecated --speed.")
            parser.add_argument("--slow", action="store_false", dest="fast")
            parser.add_argument("--safe", action=argparse.BooleanOptionalAction, default=True)
            parser.add_argument("--sizes", type=size, nargs="+")
            parser.add_argument("--extra", type=json.loads, default=None)
            parser.add_argument("--sum", type=str, nargs="?", const="")
            parser.add_argument("--paths", action=Paths, type=str, nargs="*")
            parser.add_argument("--raw", default=[1, 2])
            parser.add_argument("--old-fast", action=DeprecatedSwitch, dest="fast", new_flag="--fast")
            hidden = argparse.SUPPRESS
            parser.add_argument("--old-level", action=DeprecatedAlias, dest="level", default=hidden, type=str)
            parser.add_argument("--gone", action=DeprecatedGone, error_message="--gone is removed. Use --fast instead.")
            parser.add_argument("--bare", action="store_true", help="(Deprecated: use --safe) Nothing.")
            if len(names) > 1:
                parser.add_argument("--many", action="store_true")
"""
ACTIONS = """
    import argparse

    class DeprecatedSwitch(argparse.Action):
        def __init__(self, option_strings, dest, new_flag=None, nargs=0, const=True, default=False, **kwargs):
            self.new_flag = new_flag
            super().__init__(option_strings, dest, nargs=nargs, const=const, default=default, **kwargs)

    class DeprecatedAlias(argparse.Action):
        pass

    class DeprecatedGone(argparse.Action):
        def __init__(self, option_strings, dest, error_message=None, nargs=0, **kwargs):
            self.error_message = error_message
            super(DeprecatedGone, self).__init__(option_strings, dest, nargs=nargs, **kwargs)

    class Paths(argparse.Action):
        pass
"""
NAMES = """
    class One: pass
    PARSERS = {"qwen": One, "mimo": One}
    MODES = {"info", "debug"}
"""


def declared_by_calls() -> dict[str, Flag]:
    return by_option(parser_of(CALLS, actions=ACTIONS, names=NAMES))


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--port", {"type": "int", "default": 30000}),
        ("--model", {"required": True}),
        ("--level", {"default": "info", "choices": ["debug", "info"]}),
        ("--parser", {"choices": ["auto", "qwen", "mimo"]}),
        ("--fast", {"action": "store_true", "type": None, "nargs": 0, "const": True, "default": False}),
        ("--slow", {"action": "store_false", "type": None, "nargs": 0, "const": False, "default": True}),
        ("--safe", {"action": "BooleanOptionalAction", "type": None, "nargs": 0, "default": True}),
        ("--sizes", {"type": "size", "nargs": "+"}),
        ("--extra", {"type": "json.loads"}),
        ("--sum", {"nargs": "?", "const": ""}),
        ("--paths", {"action": "Paths", "nargs": "*"}),
        ("--raw", {"type": None, "default": [1, 2]}),
        (
            "--old-fast",
            {
                "action": "DeprecatedSwitch", "type": None, "nargs": 0, "const": True, "default": False,
                "deprecated": True, "replaced_by": "--fast",
            },
        ),
        (
            "--old-level",
            {"action": "DeprecatedAlias", "default": "==SUPPRESS==", "deprecated": True, "replaced_by": "--level"},
        ),
        (
            "--gone",
            {"action": "DeprecatedGone", "type": None, "nargs": 0, "deprecated": True, "replaced_by": "--fast"},
        ),
        (
            "--bare",
            {
                "action": "store_true", "type": None, "nargs": 0, "const": True, "default": False,
                "deprecated": True, "replaced_by": "--safe",
            },
        ),
        ("--many", {"action": "store_true", "type": None, "nargs": 0, "const": True, "default": False}),
    ],
)  # fmt: skip
def test_flags_declared_by_calls(option: str, expected: dict[str, Any]) -> None:
    assert facts(declared_by_calls()[option]) == expected


def test_spellings_and_destinations_are_the_parsers() -> None:
    flags = declared_by_calls()
    assert flags["--port"].options == ("--port", "-p")
    assert flags["--safe"].options == ("--safe", "--no-safe")
    assert flags["--slow"].dest == "fast"
    assert "--help" not in flags


def test_the_source_is_the_line_of_the_call() -> None:
    line = next(number for number, text in enumerate(CALLS.split("\n"), 1) if '"--model"' in text)
    assert declared_by_calls()["--model"].source == f"sglang/srt/server_args.py:{line}"


FIELDS = """
    size: A[int, Arg(help="How many.", aliases=["--sizes"])] = 1
    name: A[Optional[str], "What it is called."] = None
    path: A[str, "Where it is."]
    fast: A[bool, "Whether to hurry."] = False
    old: A[bool, "[Deprecated] Use --fast instead."] = False
    mode: A[Optional[Literal["a", "b"]], "Which."] = "a"
    urls: A[List[str], "Which ones."] = FIELD(default_factory=list)
    backend: A[str, Arg(choices=BACKENDS + ["extra"])] = "x"
    config: A[Any, Arg(parse=json.loads)] = None
    both: A[Optional[bool], Arg(action=argparse.BooleanOptionalAction, fallback=True)] = None
    secret: A[int, Arg(hidden=True)] = 3
    plain: int = 4
"""
FIELD_FACTS = [
    ("--size", {"type": "int", "default": 1}),
    ("--name", {}),
    ("--path", {"required": True}),
    ("--fast", {"action": "store_true", "type": None, "nargs": 0, "const": True, "default": False}),
    (
        "--old",
        {
            "action": "store_true", "type": None, "nargs": 0, "const": True, "default": False,
            "deprecated": True, "replaced_by": "--fast",
        },
    ),
    ("--mode", {"choices": ["a", "b"], "default": "a"}),
    ("--urls", {"nargs": "+", "default": []}),
    ("--backend", {"choices": ["x", "y", "extra"], "default": "x"}),
    ("--config", {"type": "json.loads"}),
    ("--both", {"action": "BooleanOptionalAction", "type": None, "nargs": 0, "fallback": True}),
]  # fmt: skip
IMPORTS = """
    from __future__ import annotations
    import argparse, dataclasses, json
    from typing import Any, List, Literal, Optional
    import msgspec
    from sglang.srt.registrar import A, Arg, register
    BACKENDS = ["x", "y"]
"""


def declared_by_dataclass() -> Parser:
    source = f"""{IMPORTS}
    @dataclasses.dataclass
    class ServerArgs:
{FIELDS.replace("FIELD", "dataclasses.field").replace("    ", "        ")}
        @staticmethod
        def add_cli_args(parser):
            register(parser, ServerArgs)
            parser.add_argument("--config-file", type=str)
    """
    return parser_of(source, registrar=REGISTRAR)


def declared_by_structs() -> Parser:
    fields = f"""{IMPORTS}
    class First(msgspec.Struct):
{FIELDS.replace("FIELD", "msgspec.field").replace("    ", "        ")}
    """
    source = """
    import msgspec
    from typing import get_type_hints
    from sglang.srt.registrar import register
    from sglang.srt.first import First

    def starting(name):
        return next(field.default for field in msgspec.structs.fields(ServerArgs) if field.name == name)

    class ServerArgs:
        @staticmethod
        def add_cli_args(parser):
            register(parser, ServerArgs)
            parser.add_argument("--config-file", type=str, default=starting("name"))

    def collect(sources):
        kinds, defaults = {}, {}
        for source in sources:
            hints = get_type_hints(source, include_extras=True)
            for field in msgspec.structs.fields(source):
                if field.name in kinds:
                    raise ValueError(field.name)
                kinds[field.name] = hints[field.name]
                if field.default is not msgspec.NODEFAULT:
                    defaults[field.name] = field.default
                elif field.default_factory is not msgspec.NODEFAULT:
                    defaults[field.name] = msgspec.field(default_factory=field.default_factory)
        return kinds, defaults

    kinds, defaults = collect([First])
    ServerArgs.__annotations__ = {**kinds, **ServerArgs.__annotations__}
    ServerArgs = msgspec.defstruct(
        "ServerArgs",
        [(n, k, defaults[n]) if n in defaults else (n, k) for n, k in ServerArgs.__annotations__.items()],
        namespace={key: value for key, value in vars(ServerArgs).items()},
    )
    """
    return parser_of(source, registrar=REGISTRAR, first=fields)


@pytest.mark.parametrize("declare", [declared_by_dataclass, declared_by_structs])
@pytest.mark.parametrize(("option", "expected"), FIELD_FACTS)
def test_flags_declared_by_fields(declare: Any, option: str, expected: dict[str, Any]) -> None:
    assert facts(by_option(declare())[option]) == expected


@pytest.mark.parametrize("declare", [declared_by_dataclass, declared_by_structs])
def test_fields_without_metadata_or_hidden_ones_are_no_flags(declare: Any) -> None:
    flags = by_option(declare())
    assert set(flags) == {option for option, _ in FIELD_FACTS} | {"--config-file"}
    assert flags["--size"].options == ("--size", "--sizes")


def test_the_source_of_a_field_is_its_own_line() -> None:
    flag = by_option(declared_by_structs())["--fast"]
    path, _, line = flag.source.partition(":")
    assert path == "sglang/srt/first.py"
    text = f"{IMPORTS}\n    class First(msgspec.Struct):\n{FIELDS}".split("\n")
    assert text[int(line) - 1].strip().startswith("fast:")


def one(call: str, before: str = "") -> Parser:
    return parser_of(f"{before}\nclass ServerArgs:\n    @staticmethod\n    def add_cli_args(parser):\n        {call}\n")


def test_a_choice_that_cannot_be_computed_is_listed_never_guessed() -> None:
    parser = one('parser.add_argument("--a", type=str, choices=torch.list_backends())', "import torch")
    (flag,) = parser.flags
    assert flag.choices is None
    assert flag.unresolved == ("choices",)
    assert "--a" in parser.problems[0]
    assert flag_as_json(flag)["unresolved"] == ["choices"]


def test_a_default_that_is_no_literal_is_listed() -> None:
    parser = one('parser.add_argument("--a", default=object())')
    assert parser.flags[0].unresolved == ("default",)
    assert parser.problems


@pytest.mark.parametrize(
    "call",
    [
        "parser.add_argument(NAME)",
        "parser.set_defaults(a=1)",
        'parser.add_argument("--a", action=unknown.Action)',
        'parser.add_argument("--a"); parser.add_argument("--a")',
        "add_more(parser)",
        'parser.add_argument("--a") if torch.cuda.is_available() else None',
    ],
)
def test_what_cannot_be_followed_is_a_problem(call: str) -> None:
    assert one(call, "import torch, unknown").problems


def test_one_problem_does_not_hide_the_other_flags() -> None:
    parser = one('parser.add_argument(NAME)\n        parser.add_argument("--b")')
    assert [flag.options for flag in parser.flags] == [("--b",)]
    assert len(parser.problems) == 1


def test_no_parser_at_all_is_refused() -> None:
    with pytest.raises(Unresolved):
        parser_of("class ServerArgs:\n    pass\n")


def test_flags_sort_by_destination_then_spelling() -> None:
    flags = sorted(declared_by_calls().values(), key=flag_sort_key)
    assert [flag.dest for flag in flags] == sorted(flag.dest for flag in flags)
