"""Modules written for the tests, in the manner of the three ways in which SGLang has declared its flags."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.flags import Parser, read_flags
from mimo_gb10.extract.modules import Modules

SERVER_ARGS = "sglang/srt/server_args.py"

# A registrar as the later releases have one: it turns annotated fields into options.
REGISTRAR = """
    from __future__ import annotations
    import dataclasses, types
    from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin, get_type_hints
    import msgspec

    A = Annotated

    @dataclasses.dataclass(frozen=True)
    class Arg:
        help: str = ""
        choices: Optional[list] = None
        aliases: Optional[list] = None
        parse: Any = None
        action: Any = None
        extra: Optional[dict] = None
        hidden: bool = False
        fallback: Any = None

    def split(hint):
        if get_origin(hint) is not Annotated:
            return hint, None
        inner, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, Arg):
                return inner, mark
            if isinstance(mark, str):
                return inner, Arg(help=mark)
        return inner, None

    def records(cls):
        if isinstance(cls, type) and issubclass(cls, msgspec.Struct):
            return msgspec.structs.fields(cls)
        return dataclasses.fields(cls)

    def start(field):
        for absent in (dataclasses.MISSING, msgspec.NODEFAULT):
            if field.default_factory is absent:
                return field.default
        return field.default_factory()

    def register(parser, cls):
        hints = get_type_hints(cls, include_extras=True)
        for field in records(cls):
            kind, arg = split(hints[field.name])
            if arg is None or arg.hidden:
                continue
            names = ["--" + field.name.replace("_", "-")] + (arg.aliases or [])
            value = start(field)
            options = {} if value in (dataclasses.MISSING, msgspec.NODEFAULT) else {"default": value}
            if arg.action is not None:
                parser.add_argument(*names, action=arg.action, help=arg.help, **options, **(arg.extra or {}))
                continue
            if get_origin(kind) is Union:
                kind = [part for part in get_args(kind) if part is not type(None)][0]
            if kind is bool:
                parser.add_argument(*names, action="store_true", help=arg.help, **options)
            elif get_origin(kind) is Literal:
                parser.add_argument(*names, type=str, choices=list(get_args(kind)), help=arg.help, **options)
            elif get_origin(kind) is list:
                parser.add_argument(*names, type=get_args(kind)[0], nargs="+", help=arg.help, **options)
            else:
                extra = {"choices": arg.choices} if arg.choices else {}
                if not options:
                    extra["required"] = True
                parser.add_argument(*names, type=arg.parse or kind, help=arg.help, **options, **extra)
"""


def modules(files: Mapping[str, str]) -> Modules:
    """The modules of some files, as if they were a wheel's."""
    texts = {path: textwrap.dedent(text) for path, text in files.items()}
    return Modules(list(texts), texts.__getitem__)


def evaluator(files: Mapping[str, str]) -> Evaluator:
    """An evaluator over some files."""
    return Evaluator(modules(files))


def parser_of(server_args: str, **others: str) -> Parser:
    """The flags of a `server_args` module; other modules lie beside it, by name."""
    files = {SERVER_ARGS: server_args} | {f"sglang/srt/{name}.py": text for name, text in others.items()}
    return read_flags(evaluator(files))
