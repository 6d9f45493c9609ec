from __future__ import annotations

from typing import Any

import pytest

from mimo_gb10.extract.values import EnumMember, External, TypeExpr, Unresolved
from tests.extract.snippets import evaluator


def value_of(source: str, name: str = "X", **others: str) -> Any:
    files = {"sglang/srt/here.py": source} | {f"sglang/srt/{key}.py": text for key, text in others.items()}
    return evaluator(files).resolve("sglang.srt.here", name)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[1, 'a', None, *(2, 3)]", [1, "a", None, 2, 3]),
        ("10 * 1000 + 2 ** 4 - 7 // 2", 10013),
        ("-1", -1),
        ("['a'] + list({'b': 1, 'c': 2}.keys())", ["a", "b", "c"]),
        ("sorted({'b', 'a'})", ["a", "b"]),
        ("[n.lower() for n in ('A', 'B') if n != 'B']", ["a"]),
        ("{k: v for k, v in {'a': 1}.items()}", {"a": 1}),
        ("{**{'a': 1}, 'b': 2}", {"a": 1, "b": 2}),
        ("('a', 'b', 'c')[0]", "a"),
        ("['a', 'b', 'c'][1:]", ["b", "c"]),
        ("'x' if 3 > 2 else 'y'", "x"),
        ("None or 'z'", "z"),
        ("not 0 and 1", 1),
        ("f'{1 + 1}-{\"a\"}'", "2-a"),
        ("(lambda a, b=2: a + b)(1)", 3),
        ("'-'.join(['a', 'b']).upper()", "A-B"),
        ("'b' in ['a', 'b'] and 'c' not in 'ab'", True),
        ("next(n for n in [1, 2, 3] if n > 1)", 2),
        ("any(n > 2 for n in [1, 2])", False),
        ("dict(a=1)['a']", 1),
        ("str(1) + '!'", "1!"),
        ("['a'] if sys.version_info >= (3, 11) else []", ["a"]),
        ("[1, 2, 3][-1] - [5][0]", -2),
    ],
)
def test_expressions(expression: str, value: Any) -> None:
    assert value_of(f"import sys\nX = {expression}") == value


def test_a_name_is_built_by_every_statement_that_touches_it_in_order() -> None:
    source = """
        X = ["a"]
        OTHER = X
        X.append("b")
        if True:
            X.extend(("c",))
        else:
            X.clear()
        X += ["d"]
        X[0] = "A"
        unrelated = undefined_name
    """
    assert value_of(source) == ["A", "b", "c", "d"]


def test_names_come_through_imports_of_every_kind() -> None:
    here = """
        from sglang.srt.near import Y as one
        from .near import *
        from . import near
        import sglang.srt.near as again
        X = [one, Z, near.Y, again.Z]
    """
    assert value_of(here, near="Y = 1\nZ = Y + 1") == [1, 2, 1, 2]


def test_only_the_wanted_name_of_an_import_is_computed() -> None:
    assert value_of("from .near import A, B\nX = A", near="A = 1\nB = no_such_name") == 1


def test_classes_give_attributes_defaults_and_enum_members() -> None:
    source = """
        import dataclasses
        from enum import Enum, IntEnum, auto
        class Kind(IntEnum):
            NONE = 0
            SOME = auto()
            ALIAS = 0
        class Backend:
            A = "a"
            ALL = (A, "b")
        class Child(Backend):
            B = "b"
        @dataclasses.dataclass
        class Record:
            size: int = 4
            other: int = dataclasses.field(default=5)
        X = [[k.name for k in Kind], Kind.SOME.value, Child.ALL, Record.size, Record.other]
        X += [Kind(1).name, Kind["NONE"].name, 1 if Kind.NONE else 2, str(Kind.SOME)]
    """
    assert value_of(source) == [["NONE", "SOME"], 1, ("a", "b"), 4, 5, "SOME", "NONE", 2, "1"]


def test_an_enum_member_stays_a_member_until_it_is_written() -> None:
    member = value_of("from enum import Enum\nclass K(Enum):\n    A = 'a'\nX = K.A")
    assert isinstance(member, EnumMember)
    assert (member.name, member.value) == ("A", "a")


def test_functions_are_run() -> None:
    source = """
        def pick(first, *rest, upper=False, **more):
            found = []
            for index, item in enumerate((first, *rest)):
                if item == "skip":
                    continue
                if item == "stop":
                    break
                found.append(item.upper() if upper else item)
            head, *tail = found
            return [head, tail, more]
        X = pick("a", "skip", "b", "stop", "c", upper=True, extra=1)
    """
    assert value_of(source) == ["A", ["B"], {"extra": 1}]


def test_objects_run_their_constructors_with_super() -> None:
    source = """
        class Base:
            def __init__(self, default, secret=False):
                self.default = default
            def get(self):
                return self.default() if callable(self.default) else self.default
        class Mixin:
            def __init__(self, default, old):
                super().__init__(default)
                self.old = old
        class Both(Mixin, Base):
            pass
        made = Both(lambda: 7, old="x")
        X = [made.get(), made.old]
    """
    assert value_of(source) == [7, "x"]


def test_nothing_was_imported_and_no_variable_is_set() -> None:
    source = """
        import os, sys
        from typing import TYPE_CHECKING
        X = [sys.modules.get("a"), os.getenv("A", "b"), os.environ.get("A"), "A" in os.environ, bool(TYPE_CHECKING)]
    """
    assert value_of(source) == [None, "b", None, False, False]


def test_types_are_normalised_as_typing_does() -> None:
    source = """
        from typing import Optional, Union, List, Literal
        X = [Optional[Union[int, str]], int | None, List[int], Literal["a", "b"]]
    """
    union = External("typing.Union")
    assert value_of(source) == [
        TypeExpr(union, (int, str, type(None))),
        TypeExpr(union, (int, type(None))),
        TypeExpr(list, (int,)),
        TypeExpr(External("typing.Literal"), ("a", "b")),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "X = no_such_name",
        "X = X + 1",
        "import torch\nX = 'a' if torch.cuda.is_available() else 'b'",
        "import torch\nX = torch.version.cuda is not None",
        "import platform\nX = ['a'] if platform.machine() == 'aarch64' else []",
        "import sys\nX = sys.platform == 'linux'",
        "import torch\nX = [1] + torch.LIST",
        "from .missing import Y\nX = Y",
        "def f():\n    return f()\nX = f()",
        "def f():\n    raise ValueError\nX = f()",
        "def f(a):\n    return a\nX = f()",
        "def f():\n    yield 1\nX = list(f())",
        "X = {}['a']",
        "X = [][0]",
        "while True:\n    X = 1\n    break",
        "import os\nX = os.listdir('.')[0]",
        "import torch\nX = list(torch.NAMES)",
        "import torch\nX = torch.NAMES['a']",
        "import torch\nX = issubclass(torch.A, int)",
        "X = type(lambda: 1)",
    ],
)
def test_what_only_run_time_knows_is_refused(source: str) -> None:
    with pytest.raises(Unresolved):
        value_of(source)


def test_an_argument_that_cannot_be_computed_only_matters_where_it_is_used() -> None:
    source = """
        def first(a, b):
            return a
        def second(a, b):
            return b + ""
        X = first(1, no_such_name)
        Y = second(1, no_such_name)
    """
    assert value_of(source) == 1
    with pytest.raises(Unresolved, match="no_such_name"):
        value_of(source, "Y")


def test_taking_an_unknown_for_true_is_noted() -> None:
    source = """
        class Holder:
            item: object
        X = 1 if Holder(no_such_name).item else 2
    """
    run = evaluator({"sglang/srt/here.py": source})
    assert run.resolve("sglang.srt.here", "X") == 1
    assert any("no_such_name" in problem for problem in run.problems)
