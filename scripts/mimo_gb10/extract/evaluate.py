"""A small evaluator for the declarations in SGLang's source.

It walks syntax trees: module-level names are computed when they are needed,
from the statements that touch them; functions of the wheel are run when their
result is needed. Nothing of the wheel is imported. What it cannot compute
raises `Unresolved`; it never guesses.

The world in which it evaluates: no environment variable is set, no module was
imported before, type checking is off.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence

from mimo_gb10.extract import library
from mimo_gb10.extract.modules import Module, Modules, blocks, touched, touching
from mimo_gb10.extract.values import (
    ClassRef,
    EnumMember,
    External,
    FieldValue,
    Frame,
    FunctionRef,
    Made,
    Method,
    Record,
    TypeExpr,
    Unknown,
    Unresolved,
    Value,
)

MAX_DEPTH = 80
"""Calls inside calls before the evaluator gives up."""

_BINARY: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}

_ORDER: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, type(None), range)
_MISSING = object()


class _Return(Exception):
    def __init__(self, value: Value) -> None:
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


Hook = Callable[["Evaluator", Frame, ast.Call], Value]


class Evaluator:
    """Computes names and expressions of the modules of one wheel.

    Attributes:
        modules: The wheel's modules.
        hooks: What a call of an external function, or of a method of a modelled object, yields.
            A key is the dotted name of the function, or the type of the object.
        field_sources: For each annotated field that was looked at, ``path:line`` of its declaration.
        problems: What could not be computed on the way although the result could, as sentences.
    """

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.hooks: dict[str, Hook] = dict(library.HOOKS)
        self.methods: dict[type, Callable[[Evaluator, Frame, ast.Call, Value, str], Value]] = {}
        self.field_sources: dict[str, str] = {}
        self.problems: list[str] = []
        self._globals: dict[tuple[str, str], Value] = {}
        self._class_names: dict[tuple[ast.ClassDef, str], Value] = {}
        self._class_index: dict[ast.ClassDef, dict[str, list[ast.stmt]]] = {}
        self._attributes: dict[tuple[ast.ClassDef, str], Value] = {}
        self._busy: set[tuple[object, str]] = set()
        self._depth = 0

    # Names

    def resolve(self, module: str, name: str) -> Value:
        """The value of a module-level name. Raises `Unresolved`."""
        if module not in self.modules:
            raise Unresolved(f"no module {module}")
        value = self._global(self.modules.get(module), name)
        if value is _MISSING:
            raise Unresolved(f"{module} binds no name {name}")
        if isinstance(value, Unknown):
            raise Unresolved(value.reason)
        return value

    def _global(self, module: Module, name: str) -> Value:
        key = (module.name, name)
        if key in self._globals:
            return self._globals[key]
        statements = module.touching.get(name)
        if statements is None:
            return self._star_import(module, name)
        busy = (module, name)
        if busy in self._busy:
            raise Unresolved(f"{module.name}.{name} is defined through itself")
        self._busy.add(busy)
        frame = Frame(module)
        try:
            for statement in statements:
                self._run_for(frame, statement, name)
                if name in frame.names:
                    self._globals[key] = frame.names[name]
                    self._busy.discard(busy)
        except Unresolved:
            self._globals.pop(key, None)
            raise
        finally:
            self._busy.discard(busy)
        if name not in frame.names:
            return _MISSING
        self._globals[key] = frame.names[name]
        return self._globals[key]

    def _star_import(self, module: Module, name: str) -> Value:
        for statement in module.touching.get("*", ()):
            if isinstance(statement, ast.ImportFrom):
                source = _absolute(module, statement)
                if source in self.modules:
                    value = self._global(self.modules.get(source), name)
                    if value is not _MISSING:
                        return value
        return _MISSING

    def _run_for(self, frame: Frame, statement: ast.stmt, name: str) -> None:
        """Run a module-level or class-level statement as far as it touches `name`."""
        if isinstance(statement, ast.ImportFrom):
            self._import_from(frame, statement, name)
            return
        if not blocks(statement) or isinstance(statement, ast.For):
            self._run(frame, statement)
            return
        chosen: Iterable[list[ast.stmt]]
        match statement:
            case ast.If(test=test, body=body, orelse=orelse):
                chosen = [body if self.truth(self.evaluate(frame, test)) else orelse]
            case ast.Try(body=body, orelse=orelse, finalbody=finalbody):
                chosen = [body, orelse, finalbody]
            case _:
                chosen = blocks(statement)
        for block in chosen:
            for inner in block:
                if name in set(touched(inner)):
                    self._run_for(frame, inner, name)

    def lookup(self, frame: Frame, name: str) -> Value:
        """The value of a name as code in `frame` sees it. Raises `Unresolved`."""
        value = self._lookup(frame, name)
        if isinstance(value, Unknown):
            raise Unresolved(value.reason)
        return value

    def _lookup(self, frame: Frame, name: str) -> Value:
        scope: Frame | None = frame
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            if scope.owner is not None and scope is frame:
                value = self._own_attribute(scope.owner, name)
                if value is not _MISSING:
                    return value
            scope = scope.outer
        value = self._global(frame.module, name)
        if value is not _MISSING:
            return value
        if name == "__name__":
            return frame.module.name
        if name in library.BUILTINS:
            return library.BUILTINS[name]
        if hasattr(builtins, name):
            return External(f"builtins.{name}")
        raise Unresolved(f"no name {name} in {frame.module.name}")

    # Classes

    def ancestry(self, cls: ClassRef) -> Iterator[ClassRef | External]:
        """The class and its bases, nearest first; a base that cannot be computed is left out."""
        yield cls
        frame = Frame(cls.module)
        for node in cls.node.bases:
            try:
                base = self.evaluate(frame, node.value if isinstance(node, ast.Subscript) else node)
            except Unresolved:
                continue
            if isinstance(base, ClassRef):
                yield from self.ancestry(base)
            elif isinstance(base, External):
                yield base

    def is_enum(self, cls: ClassRef) -> bool:
        """Whether the class is an enum."""
        return any(isinstance(base, External) and base.name.startswith("enum.") for base in self.ancestry(cls))

    def members(self, cls: ClassRef) -> list[EnumMember]:
        """The members of an enum, in order of definition, without aliases."""
        found: list[EnumMember] = []
        count = 0
        for statement in cls.node.body:
            if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
                continue
            name = statement.targets[0].id
            if name.startswith("_"):
                continue
            value = self.evaluate(Frame(cls.module, owner=cls), statement.value)
            if isinstance(value, Made) and value.maker == External("enum.auto"):
                strings = External("enum.StrEnum") in set(self.ancestry(cls))
                value = name.lower() if strings else count + 1
            if isinstance(value, int):
                count = value
            if not any(member.value == value for member in found):
                found.append(EnumMember(cls, name, value))
        return found

    def annotated(self, cls: ClassRef) -> dict[str, ast.AnnAssign]:
        """The annotated names of a class body and of its bases, bases first."""
        fields: dict[str, ast.AnnAssign] = {}
        for base in reversed(list(self.ancestry(cls))):
            if not isinstance(base, ClassRef):
                continue
            for statement in base.node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    fields[statement.target.id] = statement
                    self.field_sources[statement.target.id] = f"{base.module.path}:{statement.lineno}"
        return fields

    def _own_attribute(self, cls: ClassRef, name: str) -> Value:
        if (cls.node, name) in self._attributes:
            return self._attributes[cls.node, name]
        key = (cls.node, name)
        if key in self._class_names:
            return self._class_names[key]
        if cls.node not in self._class_index:
            self._class_index[cls.node] = touching(cls.node.body)
        index = self._class_index[cls.node]
        if name not in index or key in self._busy:
            return _MISSING
        self._busy.add(key)
        frame = Frame(cls.module, owner=cls)
        try:
            for statement in index[name]:
                if not (isinstance(statement, ast.AnnAssign) and statement.value is None):
                    self._run_for(frame, statement, name)
        finally:
            self._busy.discard(key)
        if name not in frame.names:
            return _MISSING
        self._class_names[key] = frame.names[name]
        return frame.names[name]

    def class_attribute(self, cls: ClassRef, name: str) -> Value:
        """An attribute of a class: an enum member, a field's default, a method. Raises `Unresolved`."""
        if name == "__name__":
            return cls.name
        if name == "__members__" and self.is_enum(cls):
            return {member.name: member for member in self.members(cls)}
        if name == "__annotations__" and (cls.node, name) not in self._attributes:
            return {
                key: self._annotation(cls, node) for key, node in self.annotated(cls).items() if node in cls.node.body
            }
        if self.is_enum(cls):
            for member in self.members(cls):
                if member.name == name:
                    return member
        for base in self.ancestry(cls):
            if isinstance(base, ClassRef):
                value = self._own_attribute(base, name)
                if value is not _MISSING:
                    if isinstance(value, Made) and value.maker in library.FIELD_MAKERS and "default" in value.kwargs:
                        return value.kwargs["default"]
                    return value
        raise Unresolved(f"class {cls.name} has no attribute {name}")

    def _annotation(self, cls: ClassRef, node: ast.AnnAssign) -> Value:
        return self.evaluate(Frame(cls.module, owner=cls), node.annotation)

    def hints(self, cls: ClassRef | Record) -> dict[str, Value]:
        """What ``typing.get_type_hints`` would give; a hint that cannot be computed becomes a problem."""
        if isinstance(cls, Record):
            return {item.name: item.type for item in cls.fields}
        found: dict[str, Value] = {}
        for name, node in self.annotated(cls).items():
            try:
                found[name] = self._annotation(self._declarer(cls, node), node)
            except Unresolved as problem:
                self.problems.append(f"field {name} ({self.field_sources[name]}): {problem.reason}")
        return found

    def _declarer(self, cls: ClassRef, node: ast.AnnAssign) -> ClassRef:
        for base in self.ancestry(cls):
            if isinstance(base, ClassRef) and node in base.node.body:
                return base
        return cls

    def fields(self, cls: Value, missing: External) -> list[FieldValue]:
        """The fields of a dataclass or struct; `missing` stands for an absent default."""
        if isinstance(cls, Record):
            return list(cls.fields)
        if not isinstance(cls, ClassRef):
            raise Unresolved(f"{cls} has no fields")
        found = []
        for name, node in self.annotated(cls).items():
            if _is_class_variable(node.annotation):
                continue
            default: Value = missing
            factory: Value = missing
            if node.value is not None:
                value = self.attempt(Frame(self._declarer(cls, node).module, owner=cls), node.value)
                if isinstance(value, Made) and value.maker in library.FIELD_MAKERS:
                    default = value.kwargs.get("default", missing)
                    factory = value.kwargs.get("default_factory", missing)
                else:
                    default = value
            found.append(FieldValue(name, default, factory, None))
        return found

    # Expressions

    def attempt(self, frame: Frame, node: ast.expr) -> Value:
        """The value of an expression, or `Unknown` when it cannot be computed."""
        try:
            return self.evaluate(frame, node)
        except Unresolved as problem:
            return Unknown(problem.reason)

    def truth(self, value: Value) -> bool:
        """Whether a value counts as true. Raises `Unresolved` for what only run time knows."""
        if isinstance(value, Unknown):
            self.problems.append(f"taken as true: {value.reason}")
            return True
        if isinstance(value, (ClassRef, FunctionRef, TypeExpr, type, Method, Record)):
            return True
        if isinstance(value, EnumMember):
            return bool(value.value)
        if isinstance(value, _PLAIN):
            return bool(value)
        if isinstance(value, External) and library.is_standard_function(value.name):
            return True
        raise Unresolved(f"whether {_show(value)} is true is only known at run time")

    def evaluate(self, frame: Frame, node: ast.expr) -> Value:
        """The value of an expression. Raises `Unresolved`."""
        method = _EXPRESSIONS.get(type(node))
        if method is None:
            raise Unresolved(f"{type(node).__name__} is not evaluated")
        return method(self, frame, node)

    def _constant(self, frame: Frame, node: ast.Constant) -> Value:
        return node.value

    def _name(self, frame: Frame, node: ast.Name) -> Value:
        return self.lookup(frame, node.id)

    def _attribute(self, frame: Frame, node: ast.Attribute) -> Value:
        return self.attribute(self.evaluate(frame, node.value), node.attr)

    def has(self, owner: Value, name: str) -> bool:
        """Whether a value has an attribute that can be computed."""
        try:
            self.attribute(owner, name)
        except Unresolved:
            return False
        return True

    def attribute(self, owner: Value, name: str) -> Value:
        """An attribute of any value. Raises `Unresolved`."""
        match owner:
            case Module():
                value = self._global(owner, name)
                if value is not _MISSING:
                    return value
                if self.modules.is_package(f"{owner.name}.{name}"):
                    return self._module(f"{owner.name}.{name}")
                raise Unresolved(f"{owner.name} binds no name {name}")
            case External():
                full = library.canonical(f"{owner.name}.{name}")
                if self.modules.is_package(full):
                    return self._module(full)
                return library.KNOWN[full] if full in library.KNOWN else External(full)
            case ClassRef():
                return self.class_attribute(owner, name)
            case Record():
                for item in owner.fields:
                    if item.name == name:
                        return item.default
                return self.class_attribute(owner.base, name)
            case EnumMember():
                if name in ("name", "value"):
                    return owner.name if name == "name" else owner.value
                return self.attribute(owner.value, name)
            case FieldValue():
                if name in ("name", "default", "default_factory", "type"):
                    return getattr(owner, name)
            case Made(maker=ClassRef()):
                return self._instance_attribute(owner, name)
            case Unknown():
                raise Unresolved(owner.reason)
            case type() if name == "__name__":
                return owner.__name__
            case FunctionRef() if name == "__name__":
                return owner.name
            case FunctionRef(node=ast.FunctionDef() as node) if name == "__doc__":
                return ast.get_docstring(node, clean=False)
            case _ if isinstance(owner, _PLAIN) or type(owner) in self.methods:
                return Method(owner, name)
        raise Unresolved(f"{_show(owner)}.{name} is only known at run time")

    def _instance_attribute(self, made: Made, name: str) -> Value:
        assert isinstance(made.maker, ClassRef)
        self._initialise(made)
        if name in made.attributes:
            return made.attributes[name]
        value = self.class_attribute(made.maker, name)
        return _bound(value, made)

    def _initialise(self, made: Made) -> None:
        """Give an object its attributes, by its own constructor or from its annotated fields."""
        if made.attributes or not isinstance(made.maker, ClassRef):
            return
        try:
            method = self.class_attribute(made.maker, "__init__")
        except Unresolved:
            made.attributes.update(zip(self.annotated(made.maker), made.args, strict=False))
            made.attributes.update(made.kwargs)
            return
        # A constructor that only keeps what it is given is the rule; the marker ends the recursion for others.
        made.attributes["__class__"] = made.maker
        self.apply(_bound(method, made), list(made.args), made.kwargs)

    def _super_method(self, frame: Frame, name: str) -> Value:
        """``super().name`` as code in a method of the wheel sees it."""
        scope: Frame | None = frame
        while scope is not None and scope.owner is None:
            scope = scope.outer
        made = frame.names.get("self")
        if scope is None or not isinstance(made, Made) or not isinstance(made.maker, ClassRef):
            raise Unresolved("super() is only known at run time")
        line = [base for base in self.ancestry(made.maker) if isinstance(base, ClassRef)]
        nodes = [base.node for base in line]
        assert scope.owner is not None
        for base in line[nodes.index(scope.owner.node) + 1 :]:
            value = self._own_attribute(base, name)
            if value is not _MISSING:
                return _bound(value, made)
        return Made(External("builtins.object"))

    def _sequence(self, frame: Frame, nodes: Sequence[ast.expr]) -> list[Value]:
        items: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items.extend(self.iterate(self.evaluate(frame, node.value)))
            else:
                items.append(self.evaluate(frame, node))
        return items

    def _list(self, frame: Frame, node: ast.List) -> Value:
        return self._sequence(frame, node.elts)

    def _tuple(self, frame: Frame, node: ast.Tuple) -> Value:
        return tuple(self._sequence(frame, node.elts))

    def _set(self, frame: Frame, node: ast.Set) -> Value:
        return _checked(set, self._sequence(frame, node.elts))

    def _dict(self, frame: Frame, node: ast.Dict) -> Value:
        found: dict[Value, Value] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                found.update(_checked(dict, self.evaluate(frame, value)))
            else:
                # A registry maps names to classes from anywhere: only its keys must be known.
                found[self.evaluate(frame, key)] = self.attempt(frame, value)
        return found

    def _binary(self, frame: Frame, node: ast.BinOp) -> Value:
        left = self.evaluate(frame, node.left)
        right = self.evaluate(frame, node.right)
        if isinstance(node.op, ast.BitOr) and (_is_type(left) or _is_type(right)):
            return library.union([left, right])
        if not (isinstance(left, _PLAIN) and isinstance(right, _PLAIN)):
            raise Unresolved(f"{ast.unparse(node)} is only known at run time")
        return _checked(_BINARY.get(type(node.op), _refuse), left, right)

    def _unary(self, frame: Frame, node: ast.UnaryOp) -> Value:
        value = self.evaluate(frame, node.operand)
        if isinstance(node.op, ast.Not):
            return not self.truth(value)
        if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
            return -value
        raise Unresolved(f"{ast.unparse(node)} is not evaluated")

    def _boolean(self, frame: Frame, node: ast.BoolOp) -> Value:
        value: Value = None
        for part in node.values:
            value = self.evaluate(frame, part)
            if self.truth(value) is isinstance(node.op, ast.Or):
                return value
        return value

    def _compare(self, frame: Frame, node: ast.Compare) -> Value:
        left = self.evaluate(frame, node.left)
        for op, part in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(frame, part)
            if not self._holds(op, left, right):
                return False
            left = right
        return True

    def _holds(self, op: ast.cmpop, left: Value, right: Value) -> bool:
        if isinstance(op, (ast.Is, ast.IsNot)):
            same = left is right or (isinstance(left, External) and left == right)
            if not same and (library.is_opaque(left) or library.is_opaque(right)):
                raise Unresolved(f"whether {_show(left)} is {_show(right)} is only known at run time")
            return same is isinstance(op, ast.Is)
        for value in (left, right):
            if isinstance(value, Unknown):
                raise Unresolved(value.reason)
        if isinstance(op, (ast.In, ast.NotIn)) and right in (External("sys.modules"), External("os.environ")):
            return isinstance(op, ast.NotIn)
        if left == External("sys.version_info"):
            left = (3, 12)
        if library.is_opaque(left) or library.is_opaque(right):
            raise Unresolved(f"comparing {_show(left)} with {_show(right)} needs run time")
        if isinstance(op, (ast.In, ast.NotIn)):
            return (left in self.iterate(right)) is isinstance(op, ast.In)
        if isinstance(op, (ast.Eq, ast.NotEq)):
            return bool(_bare(left) == _bare(right)) is isinstance(op, ast.Eq)
        return bool(_checked(_ORDER[type(op)], _bare(left), _bare(right)))

    def _choice(self, frame: Frame, node: ast.IfExp) -> Value:
        chosen = node.body if self.truth(self.evaluate(frame, node.test)) else node.orelse
        return self.evaluate(frame, chosen)

    def _subscript(self, frame: Frame, node: ast.Subscript) -> Value:
        owner = self.evaluate(frame, node.value)
        if isinstance(owner, ClassRef) and self.is_enum(owner):
            return self.class_attribute(owner, str(self.evaluate(frame, node.slice)))
        if _is_type(owner):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            literal = owner == External("typing.Literal")
            return library.subscript(owner, [self._type_argument(frame, part, literal) for part in parts])
        if isinstance(node.slice, ast.Slice):
            bounds = [None if part is None else self.evaluate(frame, part) for part in _slice_parts(node.slice)]
            return _checked(operator.getitem, owner, slice(*bounds))
        key = self.evaluate(frame, node.slice)
        if not isinstance(owner, _PLAIN):
            raise Unresolved(f"{ast.unparse(node)} is only known at run time")
        return _checked(operator.getitem, owner, key)

    def _type_argument(self, frame: Frame, node: ast.expr, literal: bool) -> Value:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not literal:
            return node.value
        value = self.evaluate(frame, node)
        return value if literal or value is not None else type(None)

    def _comprehension(
        self, frame: Frame, generators: Sequence[ast.comprehension], emit: Callable[[Frame], None]
    ) -> None:
        if not generators:
            emit(frame)
            return
        first, rest = generators[0], generators[1:]
        for item in self.iterate(self.evaluate(frame, first.iter)):
            inner = Frame(frame.module, {}, frame, None)
            self._bind(inner, first.target, item)
            if all(self.truth(self.evaluate(inner, test)) for test in first.ifs):
                self._comprehension(inner, rest, emit)

    def _listing(self, frame: Frame, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        items: list[Value] = []
        self._comprehension(frame, node.generators, lambda inner: items.append(self.evaluate(inner, node.elt)))
        return _checked(set, items) if isinstance(node, ast.SetComp) else items

    def _mapping(self, frame: Frame, node: ast.DictComp) -> Value:
        found: dict[Value, Value] = {}

        def emit(inner: Frame) -> None:
            found[self.evaluate(inner, node.key)] = self.evaluate(inner, node.value)

        self._comprehension(frame, node.generators, emit)
        return found

    def _formatted(self, frame: Frame, node: ast.JoinedStr) -> Value:
        text = ""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                value = _bare(self.evaluate(frame, part.value))
                if part.format_spec is not None or not isinstance(value, (str, int, float)):
                    raise Unresolved(f"{ast.unparse(node)} is only known at run time")
                text += repr(value) if part.conversion == ord("r") else str(value)
            elif isinstance(part, ast.Constant):
                text += str(part.value)
        return text

    def _lambda(self, frame: Frame, node: ast.Lambda) -> Value:
        return FunctionRef(frame, node)

    def _named(self, frame: Frame, node: ast.NamedExpr) -> Value:
        value = self.evaluate(frame, node.value)
        self._bind(frame, node.target, value)
        return value

    def iterate(self, value: Value) -> list[Value]:
        """The items of an iterable value. Raises `Unresolved`."""
        if isinstance(value, ClassRef) and self.is_enum(value):
            return list(self.members(value))
        if isinstance(value, (list, tuple, dict, str, range)):
            return list(value)
        if isinstance(value, (set, frozenset)):
            return sorted(value, key=repr)
        raise Unresolved(f"the items of {_show(value)} are only known at run time")

    # Calls

    def _call(self, frame: Frame, node: ast.Call) -> Value:
        match node.func:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=attr):
                function = self._super_method(frame, attr)
                if isinstance(function, Made):
                    return None
            case _:
                function = self.evaluate(frame, node.func)
        if isinstance(function, Method) and type(function.owner) in self.methods:
            return self.methods[type(function.owner)](self, frame, node, function.owner, function.name)
        if isinstance(function, External):
            hook = self.hooks.get(function.name)
            return hook(self, frame, node) if hook else Made(function)
        if isinstance(function, Unknown):
            raise Unresolved(function.reason)
        # An argument that cannot be computed matters only where it is used.
        args, kwargs = self.arguments(frame, node)
        return self.apply(function, args, kwargs)

    def arguments(self, frame: Frame, node: ast.Call) -> tuple[list[Value], dict[str, Value]]:
        """The arguments of a call; one that cannot be computed is `Unknown`."""
        args: list[Value] = []
        for part in node.args:
            if isinstance(part, ast.Starred):
                args.extend(self.iterate(self.evaluate(frame, part.value)))
            else:
                args.append(self.attempt(frame, part))
        kwargs: dict[str, Value] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                kwargs.update(_checked(dict, self.evaluate(frame, keyword.value)))
            else:
                kwargs[keyword.arg] = self.attempt(frame, keyword.value)
        return args, kwargs

    def apply(self, function: Value, args: list[Value], kwargs: dict[str, Value]) -> Value:
        """Call a value with computed arguments. Raises `Unresolved`."""
        match function:
            case FunctionRef():
                return self._call_function(function, args, kwargs)
            case ClassRef():
                if self.is_enum(function) and len(args) == 1:
                    return self._member(function, args[0])
                return Made(function, tuple(args), kwargs)
            case Method(owner=owner, name=name):
                return self._call_method(owner, name, args, kwargs)
            case _ if function in library.CALLABLE:
                for value in (*args, *(() if function is dict else kwargs.values())):
                    if isinstance(value, Unknown):
                        raise Unresolved(value.reason)
                plain = [self.iterate(arg) if isinstance(arg, ClassRef) else arg for arg in args]
                if any(not isinstance(arg, (*_PLAIN, EnumMember, type)) for arg in plain):
                    raise Unresolved(f"{function.__name__} of {_show(plain[0])} is only known at run time")
                if function is str:
                    plain = [_bare(arg) for arg in plain]
                result = _checked(function, *plain, **kwargs)
                return list(result) if function in (enumerate, zip) else result
        raise Unresolved(f"calling {_show(function)} is not evaluated")

    def _member(self, cls: ClassRef, value: Value) -> Value:
        for member in self.members(cls):
            if member.value == _bare(value):
                return member
        raise Unresolved(f"{cls.name} has no member with the value {value!r}")

    def _call_method(self, owner: Value, name: str, args: list[Value], kwargs: dict[str, Value]) -> Value:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Unknown) and not isinstance(owner, (list, dict)):
                raise Unresolved(value.reason)
        method = getattr(owner, name, None)
        if not callable(method) or name.startswith("_"):
            raise Unresolved(f"{type(owner).__name__} has no method {name}")
        if isinstance(owner, (list, set)) and name in ("extend", "update", "union"):
            args = [self.iterate(arg) for arg in args]
        result = _checked(method, *args, **kwargs)
        return list(result) if type(result).__name__.startswith("dict_") else result

    def _call_function(self, function: FunctionRef, args: list[Value], kwargs: dict[str, Value]) -> Value:
        if self._depth > MAX_DEPTH:
            raise Unresolved(f"{function.name} calls itself too deeply")
        frame = Frame(function.frame.module, {}, function.frame)
        self.bind_arguments(function, frame, [*function.bound, *args], kwargs)
        self._depth += 1
        try:
            if isinstance(function.node, ast.Lambda):
                return self.evaluate(frame, function.node.body)
            if any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(function.node)):
                raise Unresolved(f"{function.name} is a generator")
            self._run_block(frame, function.node.body)
        except _Return as result:
            return result.value
        finally:
            self._depth -= 1
        return None

    def bind_arguments(
        self, function: FunctionRef, frame: Frame, args: Sequence[Value], kwargs: dict[str, Value]
    ) -> None:
        """Bind call arguments to the parameters of a function, in `frame`. Raises `Unresolved`."""
        spec = function.node.args
        positional = [*spec.posonlyargs, *spec.args]
        if len(args) > len(positional) and spec.vararg is None:
            raise Unresolved(f"{function.name} takes {len(positional)} arguments, not {len(args)}")
        rest = dict(kwargs)
        for parameter, value in zip(positional, args, strict=False):
            frame.names[parameter.arg] = value
        if spec.vararg is not None:
            frame.names[spec.vararg.arg] = tuple(args[len(positional) :])
        defaults = dict(zip([p.arg for p in positional][::-1], spec.defaults[::-1], strict=False))
        defaults |= {p.arg: d for p, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d is not None}
        for parameter in [*positional[len(args) :], *spec.kwonlyargs]:
            if parameter.arg in rest:
                frame.names[parameter.arg] = rest.pop(parameter.arg)
            elif parameter.arg in defaults:
                frame.names[parameter.arg] = self.attempt(function.frame, defaults[parameter.arg])
            else:
                raise Unresolved(f"{function.name} is called without {parameter.arg}")
        if spec.kwarg is not None:
            frame.names[spec.kwarg.arg] = rest
        elif rest:
            raise Unresolved(f"{function.name} takes no argument {next(iter(rest))}")

    # Statements

    def run_body(self, frame: Frame, body: Sequence[ast.stmt]) -> None:
        """Run statements for their effect; a statement that fails becomes a problem, the rest still runs."""
        for statement in body:
            try:
                self._run(frame, statement)
            except Unresolved as problem:
                self.problems.append(f"{frame.module.path}:{statement.lineno}: {problem.reason}")
            except _Return:
                return

    def _run_block(self, frame: Frame, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self._run(frame, statement)

    def _run(self, frame: Frame, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=targets, value=node):
                value = self.evaluate(frame, node)
                for target in targets:
                    self._bind(frame, target, value)
            case ast.AnnAssign(target=target, value=node):
                if node is not None:
                    self._bind(frame, target, self.evaluate(frame, node))
            case ast.AugAssign(target=target, op=op, value=node):
                current = self.evaluate(frame, _as_load(target))
                change = self.evaluate(frame, node)
                if isinstance(current, list):
                    change = self.iterate(change)
                self._bind(frame, target, _checked(_BINARY.get(type(op), _refuse), current, change))
            case ast.Expr(value=node):
                if not isinstance(node, ast.Constant):
                    self.evaluate(frame, node)
            case ast.Return(value=node):
                raise _Return(None if node is None else self.evaluate(frame, node))
            case ast.If(test=test, body=body, orelse=orelse):
                self._run_block(frame, body if self.truth(self.evaluate(frame, test)) else orelse)
            case ast.For():
                self._loop(frame, statement)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                frame.names[name] = FunctionRef(frame, statement)
            case ast.ClassDef(name=name):
                frame.names[name] = ClassRef(frame.module, statement)
            case ast.Import(names=aliases):
                for alias in aliases:
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    frame.names[alias.asname or top] = self._module(top)
            case ast.ImportFrom():
                self._import_from(frame, statement)
            case ast.Try(body=body, orelse=orelse, finalbody=finalbody):
                self._run_block(frame, [*body, *orelse, *finalbody])
            case ast.Continue():
                raise _Continue
            case ast.Break():
                raise _Break
            case ast.Pass() | ast.Assert() | ast.Global() | ast.Nonlocal():
                pass
            case _:
                raise Unresolved(f"{type(statement).__name__} is not evaluated")

    def _loop(self, frame: Frame, statement: ast.For) -> None:
        for item in self.iterate(self.evaluate(frame, statement.iter)):
            self._bind(frame, statement.target, item)
            try:
                self._run_block(frame, statement.body)
            except _Continue:
                continue
            except _Break:
                return
        self._run_block(frame, statement.orelse)

    def _bind(self, frame: Frame, target: ast.expr, value: Value) -> None:
        match target:
            case ast.Name(id=name):
                frame.names[name] = value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                items = self.iterate(value)
                starred = [index for index, part in enumerate(parts) if isinstance(part, ast.Starred)]
                if starred and len(items) >= len(parts) - 1:
                    first, last = starred[0], len(items) - (len(parts) - starred[0] - 1)
                    items = [*items[:first], items[first:last], *items[last:]]
                if len(items) != len(parts):
                    raise Unresolved("a tuple of another length is unpacked")
                for part, item in zip(parts, items, strict=True):
                    self._bind(frame, part, item)
            case ast.Starred(value=part):
                self._bind(frame, part, value)
            case ast.Subscript(value=node, slice=key):
                owner = self.evaluate(frame, node)
                if not isinstance(owner, (dict, list)):
                    raise Unresolved(f"{ast.unparse(target)} is only known at run time")
                _checked(operator.setitem, owner, self.evaluate(frame, key), value)
            case ast.Attribute(value=node, attr=attr):
                owner = self.evaluate(frame, node)
                if isinstance(owner, Made) and isinstance(owner.maker, ClassRef):
                    owner.attributes[attr] = value
                    return
                if not isinstance(owner, ClassRef):
                    raise Unresolved(f"{ast.unparse(target)} is only known at run time")
                self._attributes[owner.node, attr] = value
                if isinstance(node, ast.Name) and frame.owner is None and frame.outer is None:
                    frame.names[node.id] = owner
            case _:
                raise Unresolved(f"{ast.unparse(target)} is not evaluated")

    def _module(self, name: str) -> Value:
        return self.modules.get(name) if name in self.modules else External(library.canonical(name))

    def _import_from(self, frame: Frame, statement: ast.ImportFrom, only: str | None = None) -> None:
        source = _absolute(frame.module, statement)
        for alias in statement.names:
            bound = alias.asname or alias.name
            if bound == "*" or only not in (None, bound):
                continue
            try:
                frame.names[bound] = self._imported(source, alias.name)
            except Unresolved as problem:
                frame.names[bound] = Unknown(problem.reason)

    def _imported(self, source: str, name: str) -> Value:
        if source in self.modules:
            value = self._global(self.modules.get(source), name)
            if value is not _MISSING:
                return value
        if self.modules.is_package(f"{source}.{name}"):
            return self._module(f"{source}.{name}")
        if self.modules.is_package(source.partition(".")[0]):
            raise Unresolved(f"{source} binds no name {name}")
        full = library.canonical(f"{source}.{name}")
        return library.KNOWN[full] if full in library.KNOWN else External(full)


def _absolute(module: Module, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    package = module.package.split(".")
    base = package[: len(package) - statement.level + 1]
    return ".".join([*base, *([statement.module] if statement.module else [])])


def _is_class_variable(node: ast.expr) -> bool:
    return "ClassVar" in ast.unparse(node).partition("[")[0]


def _is_type(value: Value) -> bool:
    if isinstance(value, External):
        last = value.name.rpartition(".")[2]
        return value.name.startswith("typing.") or (last[:1].isupper() and not last.isupper())
    return isinstance(value, (type, TypeExpr, ClassRef))


def _bare(value: Value) -> Value:
    return value.value if isinstance(value, EnumMember) else value


def _bound(value: Value, made: Made) -> Value:
    return FunctionRef(value.frame, value.node, (made,)) if isinstance(value, FunctionRef) else value


def _slice_parts(node: ast.Slice) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    return node.lower, node.upper, node.step


def _as_load(target: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(target), mode="eval").body


def _refuse(*_: Value) -> Value:
    raise TypeError("the operator is not evaluated")


def _checked(function: Callable[..., Value], *args: Value, **kwargs: Value) -> Value:
    """Call a builtin; any mistake that it reports means that the model does not fit."""
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as problem:
        raise Unresolved(f"{type(problem).__name__}: {problem}") from None


def _show(value: Value) -> str:
    match value:
        case External(name=name):
            return name
        case ClassRef() | FunctionRef():
            return str(value.name)
        case Made(maker=maker):
            return f"{_show(maker)}(...)"
        case Unknown(reason=reason):
            return f"<{reason}>"
        case Method(owner=owner, name=name):
            return f"{_show(owner)}.{name}"
        case Module(name=name):
            return f"module {name}"
    return repr(value) if isinstance(value, _PLAIN) else type(value).__name__


_EXPRESSIONS: dict[type[ast.expr], Callable[[Evaluator, Frame, Value], Value]] = {
    ast.Constant: Evaluator._constant,
    ast.Name: Evaluator._name,
    ast.Attribute: Evaluator._attribute,
    ast.List: Evaluator._list,
    ast.Tuple: Evaluator._tuple,
    ast.Set: Evaluator._set,
    ast.Dict: Evaluator._dict,
    ast.BinOp: Evaluator._binary,
    ast.UnaryOp: Evaluator._unary,
    ast.BoolOp: Evaluator._boolean,
    ast.Compare: Evaluator._compare,
    ast.IfExp: Evaluator._choice,
    ast.Subscript: Evaluator._subscript,
    ast.ListComp: Evaluator._listing,
    ast.SetComp: Evaluator._listing,
    ast.GeneratorExp: Evaluator._listing,
    ast.DictComp: Evaluator._mapping,
    ast.JoinedStr: Evaluator._formatted,
    ast.Lambda: Evaluator._lambda,
    ast.NamedExpr: Evaluator._named,
    ast.Call: Evaluator._call,
}
