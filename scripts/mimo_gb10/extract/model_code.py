"""What SGLang's code for MiMo-V2 demands of a launch, in one release.

Each function finds one fact in the release's source and raises `Unresolved`
when the source has taken another form: a fact is computed or reported as
missing, never assumed. Small functions of the release are run with stand-ins;
in larger ones a statement is found by what it does.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .entry import Entry
from .evaluate import Evaluator
from .modules import Module, Modules, blocks
from .stand_ins import line, method, refuses, returns, silence, thing, with_names
from .values import ClassRef, FunctionRef, Unresolved, Value, plain

ARCHITECTURE = "MiMoV2ForCausalLM"
MODELS = "sglang.srt.models"
SERVER_ARGS = "sglang.srt.server_args"
ARG_GROUPS = "sglang/srt/arg_groups/"
CAPABILITIES = {"sm90": (9, 0), "sm100": (10, 0), "sm121": (12, 1)}
"""The GPUs for which a choice is recorded: Hopper, data centre Blackwell and GB10."""

_BLACKWELL = (10, 11, 12)


# Looking around in syntax trees


@dataclass(frozen=True, slots=True)
class Spot:
    """A statement with what governs it: the tests that must hold and the functions around it, outermost first."""

    module: Module
    node: ast.stmt
    tests: tuple[ast.expr, ...]
    functions: tuple[ast.FunctionDef, ...]

    @property
    def source(self) -> str:
        """Upstream ``path:line``."""
        return f"{self.module.path}:{self.node.lineno}"

    def is_mimo(self) -> bool:
        """Whether it only concerns MiMo-V2: by a test around it or by the registration of its function."""
        marks = [*self.tests, *(mark for function in self.functions for mark in function.decorator_list)]
        return any("MiMoV2ForCausalLM" in words or "MIMO_V2_MODEL_ARCHS" in words for words in map(ast.unparse, marks))


def spots(module: Module) -> Iterator[Spot]:
    """Every statement of a module."""
    return _spots(module, module.tree.body, (), ())


def _spots(
    module: Module, body: Sequence[ast.stmt], tests: tuple[ast.expr, ...], functions: tuple[ast.FunctionDef, ...]
) -> Iterator[Spot]:
    for node in body:
        yield Spot(module, node, tests, functions)
        match node:
            case ast.If(test=test, body=then, orelse=otherwise):
                yield from _spots(module, then, (*tests, test), functions)
                yield from _spots(module, otherwise, tests, functions)
            case ast.FunctionDef(body=inner):
                yield from _spots(module, inner, tests, (*functions, node))
            case ast.ClassDef(body=inner):
                yield from _spots(module, inner, tests, functions)
            case _:
                for block in blocks(node):
                    yield from _spots(module, block, tests, functions)


def resolution(modules: Modules) -> list[Module]:
    """The modules that settle the server's arguments before the launch."""
    paths = [path for path in modules.paths() if path.startswith(ARG_GROUPS)]
    return [modules.get(SERVER_ARGS), *(modules.at(path) for path in paths)]


def _mentioning(modules: Modules, words: str) -> list[Spot]:
    return [spot for module in resolution(modules) if words in modules.text(module.path) for spot in spots(module)]


def _given(node: ast.stmt, name: str) -> ast.expr | None:
    """The value that a statement gives to a server argument, in the ways in which SGLang has written that."""
    match node:
        case ast.Assign(targets=[ast.Attribute(attr=attr)], value=value) if attr == name:
            return value
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=key))], value=value) if key == name:
            return value
        case ast.Return(value=ast.Dict(keys=keys, values=values)):
            pairs = zip(keys, values, strict=True)
            return next((given for part, given in pairs if isinstance(part, ast.Constant) and part.value == name), None)
        case ast.Expr(value=ast.Call(keywords=keywords)):
            return next((keyword.value for keyword in keywords if keyword.arg == name), None)
    return None


def _compared(test: ast.expr, name: str) -> list[str]:
    """The texts with which an attribute is compared for equality in a test."""
    for node in ast.walk(test):
        match node:
            case ast.Compare(
                left=ast.Attribute(attr=attr) | ast.Name(id=attr), ops=[ast.Eq() | ast.In()], comparators=[right]
            ) if attr == name:
                parts = right.elts if isinstance(right, (ast.Tuple, ast.List, ast.Set)) else [right]
                return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return []


def _one(found: Sequence[Spot], what: str) -> Spot:
    if len(found) != 1:
        raise Unresolved(f"{len(found)} places {what}")
    return found[0]


# The facts


def architectures(run: Evaluator) -> Entry:
    """The architectures that the MiMo-V2 model files register, with the draft's."""
    names: dict[str, list[str]] = {}
    for key, file in (("model", "mimo_v2"), ("draft", "mimo_v2_nextn")):
        value = run.resolve(f"{MODELS}.{file}", "EntryClass")
        classes = value if isinstance(value, list) else [value]
        names[key] = [item.name for item in classes if isinstance(item, ClassRef)]
    if ARCHITECTURE not in names["model"]:
        raise Unresolved(f"{ARCHITECTURE} is not registered")
    module = run.modules.get(f"{MODELS}.mimo_v2")
    return Entry(dict(names), f"{module.path}:{module.touching['EntryClass'][0].lineno}")


def attention_tp(run: Evaluator) -> Entry:
    """How the attention's tensor parallel size must relate to a number of the checkpoint, and from what it comes."""
    refusal = "requires effective attention TP"
    found = [
        spot
        for spot in _mentioning(run.modules, refusal)
        if isinstance(spot.node, ast.Raise) and refusal in ast.unparse(spot.node) and spot.is_mimo()
    ]
    spot = _one(found, "refuse an attention TP size")
    number = run.resolve("sglang.srt.configs.model_config", "get_mimo_v2_fused_qkv_expected_tp_size")
    fused = thing(attention_projection_layout="fused_qkv", num_key_value_heads=4)
    if run.apply(number, [fused], {}) != 4 or run.apply(number, [thing()], {}) is not None:
        raise Unresolved("the expected attention TP size does not come from num_key_value_heads of a fused layout")
    arguments = [
        part.value.attr
        for part in ast.walk(spot.node)
        if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Attribute)
    ]
    data = {
        "relation": _relation(spot.tests[-1]),
        "number": "num_key_value_heads",
        "only_with": "attention_projection_layout=fused_qkv",
        "computed_from": arguments,
    }
    return Entry(data, f"{spot.module.path}:{spot.tests[-1].lineno}")


def _relation(test: ast.expr) -> str:
    for node in ast.walk(test):
        match node:
            case ast.Compare(left=ast.Name(id="effective_attn_tp_size"), ops=[ast.NotEq()]):
                return "equals"
            case ast.Compare(
                left=ast.BinOp(
                    left=ast.Name(id="expected_attn_tp_size"), op=ast.Mod(), right=ast.Name(id="effective_attn_tp_size")
                ),
                ops=[ast.NotEq()],
            ):
                return "divides"
    raise Unresolved(f"the relation is not understood: {ast.unparse(test)}")


def multi_layer_eagle(run: Evaluator) -> Entry:
    """The values of `--speculative-algorithm` with which MiMo-V2 gets multi-layer EAGLE by itself."""
    found = [
        spot
        for spot in _mentioning(run.modules, "enable_multi_layer_eagle")
        if spot.is_mimo() and _given(spot.node, "enable_multi_layer_eagle") is not None
    ]
    spot = _one(found, "switch multi-layer EAGLE on for MiMo-V2")
    algorithms = _compared(spot.tests[-1], "speculative_algorithm") if spot.tests else []
    if not algorithms:
        raise Unresolved(f"the condition of multi-layer EAGLE is not understood ({spot.source})")
    return Entry({"switched_on_by": algorithms}, spot.source)


def nextn(run: Evaluator) -> Entry:
    """What NEXTN stands for, and whether that is settled before or after the model's own adjustments."""
    found = [
        spot
        for spot in _mentioning(run.modules, "NEXTN")
        if isinstance(spot.node, ast.If)
        and "NEXTN" in _compared(spot.node.test, "speculative_algorithm")
        and any(_becomes(inner) == "EAGLE" for inner in ast.walk(spot.node))
    ]
    spot = _one(found, "turn NEXTN into EAGLE")
    resolver = spot.functions[-1].name
    callers = {resolver} | {
        other.functions[-1].name
        for other in _mentioning(run.modules, resolver)
        if other.functions
        and isinstance(other.node, (ast.Assign, ast.Expr))
        and f"{resolver}(" in ast.unparse(other.node)
    }
    if not any(name.endswith("handle_speculative_decoding") for name in callers):
        raise Unresolved(f"NEXTN is resolved by {', '.join(sorted(callers))}")
    after = _runs_after(run.modules, "handle_speculative_decoding", "handle_model_specific_adjustments")
    automatic = not after or "NEXTN" in multi_layer_eagle(run).data["switched_on_by"]
    data = {"alias_of": "EAGLE", "resolved": f"{'after' if after else 'before'} the model's adjustments"}
    return Entry({**data, "switches_multi_layer_eagle_on": automatic}, spot.source)


def _becomes(node: ast.AST) -> Any:
    match node:
        case ast.Return(value=ast.Constant(value=value)) | ast.Assign(value=ast.Constant(value=value)):
            return value
    return None


def _runs_after(modules: Modules, late: str, early: str) -> bool:
    """Whether the function that settles all arguments runs `late` after `early`."""
    for module in resolution(modules):
        text = modules.text(module.path)
        if late not in text or early not in text:
            continue
        lines: dict[str, dict[str, int]] = {}
        for spot in spots(module):
            if isinstance(spot.node, ast.Expr) and isinstance(spot.node.value, ast.Call) and spot.functions:
                called = ast.unparse(spot.node)
                for name in (late, early):
                    if f"{name}(" in called or f"({name}" in called:
                        lines.setdefault(spot.functions[-1].name, {})[name] = spot.node.lineno
        for numbers in lines.values():
            if len(numbers) == 2:
                return numbers[late] > numbers[early]
    raise Unresolved(f"no function runs both {early} and {late}")


def hierarchical_cache(run: Evaluator) -> Entry:
    """What `--enable-hierarchical-cache` does to MiMo-V2: arguments that it sets, a variable that it demands."""
    about = [spot for spot in _mentioning(run.modules, ARCHITECTURE) if spot.is_mimo()]
    about += [spot for spot in _mentioning(run.modules, "MIMO_V2_MODEL_ARCHS") if spot.is_mimo()]
    inside = [spot for spot in about if any("enable_hierarchical_cache" in ast.unparse(test) for test in spot.tests)]
    data: dict[str, Any] = {"swa_full_tokens_ratio": None, "disable_hybrid_swa_memory": None, "requires_variable": None}
    sources = []
    for spot in inside:
        for name in ("swa_full_tokens_ratio", "disable_hybrid_swa_memory"):
            value = _given(spot.node, name)
            if isinstance(value, ast.Constant):
                data[name] = value.value
                sources.append(spot.source)
        if isinstance(spot.node, ast.Raise):
            data["requires_variable"] = _variable(spot.tests[-1])
            sources.append(f"{spot.module.path}:{spot.tests[-1].lineno}")
    if inside and not sources:
        raise Unresolved(f"what the hierarchical cache does to MiMo-V2 is not understood ({inside[0].source})")
    return Entry(data, sources[0] if sources else attention_tp(run).source)


def _variable(test: ast.expr) -> str:
    for node in ast.walk(test):
        if isinstance(node, ast.Attribute) and node.attr.isupper():
            return node.attr
    raise Unresolved(f"the variable is not understood: {ast.unparse(test)}")


def vision_backend(run: Evaluator) -> Entry:
    """The vision tower's attention without `--mm-attention-backend`, by GPU; None where the server refuses to start."""
    module = run.modules.get(f"{MODELS}.mimo_vl")
    asked, number = _asked_implementation(module)
    passed = _backend_of(module, asked)
    decide = method(run, "sglang.srt.layers.attention.vision", "VisionAttention", "_determine_attention_backend")
    data: dict[str, Any] = {"hard_coded": passed}
    for name, capability in CAPABILITIES.items():
        function = with_names(decide, _gpu(capability))
        try:
            data[name] = plain(run.apply(function, [thing(), passed], {}))
        except Unresolved as problem:
            if not refuses(problem):
                raise
            data[name] = None
    return Entry(data, f"{module.path}:{number}" if passed else line(decide))


def _asked_implementation(module: Module) -> tuple[str | None, int]:
    """What the vision tower passes for `attn_implementation`, or its default, with the line."""
    asked = [
        keyword.value
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "attn_implementation"
    ]
    defaults = [
        default
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        for parameter, default in zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)
        if parameter.arg == "attn_implementation"
    ]
    values = asked or defaults
    if len(values) == 1 and isinstance(values[0], ast.Constant) and isinstance(values[0].value, (str, type(None))):
        return values[0].value, values[0].lineno
    raise Unresolved("which attention mimo_vl asks for is not understood")


def _backend_of(module: Module, asked: str | None) -> str | None:
    for spot in spots(module):
        match spot.node:
            case ast.Assign(targets=[ast.Name(id="qkv_backend")], value=ast.Constant(value=backend)):
                wanted = f"attn_implementation == {asked!r}" if asked else "attn_implementation is None"
                if spot.tests and ast.unparse(spot.tests[-1]) == wanted and isinstance(backend, (str, type(None))):
                    return backend
    raise Unresolved(f"which backend mimo_vl takes for {asked} is not understood")


def _gpu(capability: tuple[int, int]) -> Mapping[str, Value]:
    """What code sees of an NVIDIA GPU and of arguments that were not given; all names that releases have used."""
    major = capability[0]
    facts = {
        "is_hopper_with_cuda_12_3": major == 9,
        "is_sm90": major == 9,
        "is_sm100": major == 10,
        "is_sm120": major == 12,
        "is_blackwell": major in _BLACKWELL,
        "is_hip": False,
        "has_flashinfer": True,
    }
    functions = {
        "is_cuda": True,
        "is_hip": False,
        "is_mps": False,
        "is_hopper_with_cuda_12_3": major == 9,
        "is_sm100_supported": major == 10,
        "is_blackwell_supported": major in _BLACKWELL,
        "is_flashinfer_available": True,
        "is_no_spec_infer_or_topk_one": True,
        "get_device_capability": capability,
    }
    arguments = thing(mm_attention_backend=None, speculative_algorithm=None, speculative_eagle_topk=None)
    settings = ("get_global_server_args", "get_server_args", "get_mm", "resolving_view", "resolved_view")
    names: dict[str, Value] = {name: returns(value) for name, value in functions.items()}
    names |= {name: returns(arguments) for name in settings}
    names["get_platform"] = returns(thing(**facts))
    names["current_platform"] = thing(is_out_of_tree=returns(False))
    return names


def attention_backend(run: Evaluator) -> Entry:
    """The attention backend that a model with sinks gets by default, by GPU, before any choice of the model's own."""
    decide = _default_attention(run)
    data: dict[str, Any] = {}
    for name, capability in CAPABILITIES.items():
        model = thing(hf_config=thing(architectures=[ARCHITECTURE]), has_attention_sinks=True, has_asymmetric_kv=True)
        names = dict(_gpu(capability))
        arguments = names["get_server_args"]
        function = with_names(decide, names)
        data[name] = plain(run.apply(function, [run.apply(arguments, [], {}), False, model], {}))
    return Entry(data, line(decide))


def _default_attention(run: Evaluator) -> FunctionRef:
    module = "sglang.srt.arg_groups.model_override_base"
    if module in run.modules and "get_default_attn_backend" in run.modules.get(module).touching:
        found = run.resolve(module, "get_default_attn_backend")
        if isinstance(found, FunctionRef):
            return found
    return method(run, SERVER_ARGS, "ServerArgs", "_get_default_attn_backend")


def audio_attention(run: Evaluator) -> Entry:
    """Which attention the audio encoder calls: a kernel for Hopper only, or SGLang's own choice."""
    module = run.modules.get(f"{MODELS}.mimo_audio")
    for spot in spots(module):
        if isinstance(spot.node, ast.ImportFrom) and any(a.name == "flash_attn_varlen_func" for a in spot.node.names):
            return Entry({"attention": "flash_attn_varlen_func", "from": spot.node.module}, spot.source)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "VisionAttention":
            return Entry({"attention": "VisionAttention", "from": None}, f"{module.path}:{node.lineno}")
    raise Unresolved("the attention of mimo_audio is not understood")


def running_requests(run: Evaluator) -> Entry:
    """What `--max-running-requests` becomes under EAGLE when it is not given."""
    found = [
        (spot, value.value)
        for spot in _mentioning(run.modules, "max_running_requests")
        if spot.tests
        and ast.unparse(spot.tests[-1]).endswith("max_running_requests is None")
        and isinstance(value := _given(spot.node, "max_running_requests"), ast.Constant)
        and _is_eagle(spot)
    ]
    spot = _one([spot for spot, _ in found], "default the running requests under EAGLE")
    return Entry({"default": found[0][1]}, spot.source)


def _is_eagle(spot: Spot) -> bool:
    handler = spot.functions[-1].name if spot.functions else ""
    return handler.endswith("handle_eagle_family") or any(
        "EAGLE" in _compared(test, "speculative_algorithm") for test in spot.tests
    )


def draft_extend_window(run: Evaluator) -> Entry:
    """Whether the CUDA graph metadata of a draft's extend step carries the sliding window's indices (triton)."""
    module = run.modules.get("sglang.srt.layers.attention.triton_backend")
    found = []
    for spot in spots(module):
        builds = spot.functions and spot.functions[-1].name in (
            "init_forward_metadata_capture_cuda_graph",
            "_build_cuda_graph_forward_metadata",
        )
        if builds and isinstance(spot.node, ast.If) and "is_draft_extend" in ast.unparse(spot.node.test):
            found.append(spot)
    spot = _one(found, "build the graph metadata of a draft's extend step")
    assert isinstance(spot.node, ast.If)
    value, number = _window_indices(spot.node, spot.functions[-1])
    filled = not (isinstance(value, ast.Constant) and value.value is None)
    return Entry({"filled": filled}, f"{module.path}:{number}")


def _window_indices(branch: ast.If, function: ast.FunctionDef) -> tuple[ast.expr, int]:
    """What the branch gives for the window's indices, else what the function starts with."""
    for body in (branch.body, function.body):
        for node in (inner for statement in body for inner in ast.walk(statement)):
            match node:
                case ast.keyword(arg="window_kv_indices", value=value) if body is branch.body:
                    return value, value.lineno
                case ast.Assign(targets=[ast.Name(id="window_kv_indices")], value=value):
                    return value, node.lineno
    raise Unresolved("the branch of a draft's extend step names no window indices")


def transcription(run: Evaluator) -> Entry:
    """The keys of the transcription adapters, and the one that a MiMo-V2.5 server gets."""
    folder = "sglang/srt/entrypoints/openai/transcription_adapters/"
    keys = []
    for path in run.modules.paths():
        if path.startswith(folder):
            for node in ast.walk(run.modules.at(path).tree):
                match node:
                    case ast.ClassDef(decorator_list=[ast.Call(func=func, args=[ast.Constant(value=str(key))])]):
                        if ast.unparse(func) == "register_transcription_adapter":
                            keys.append(key)
    base = run.modules.at(f"{folder}base.py")
    default = run.resolve(base.name, "_DEFAULT_ADAPTER_KEY")
    if default not in keys:
        raise Unresolved(f"the default transcription adapter {default} is not registered")
    number = base.touching["_DEFAULT_ADAPTER_KEY"][0].lineno
    chosen = next((key for key in sorted(keys) if key in ARCHITECTURE), default)
    return Entry({"keys": sorted(keys), "default": default, "chosen": chosen}, f"{base.path}:{number}")


def serve(run: Evaluator) -> Entry:
    """Whether ``sglang serve MODEL`` takes the model without an option, by the release's own argument reading."""
    name = "sglang.cli.serve"
    function = run.resolve(name, "serve")
    if not isinstance(function, FunctionRef):
        raise Unresolved("sglang.cli.serve.serve is not a function")
    if "_normalize_positional_model_path" not in run.modules.get(name).touching:
        return Entry({"positional_model": False}, line(function))
    normalise = run.resolve(name, "_normalize_positional_model_path")
    argv, positional = run.apply(normalise, [["some/model", "--port", "1"]], {})
    accepted = positional is True and argv == ["--model-path", "some/model", "--port", "1"]
    return Entry({"positional_model": accepted}, line(normalise))


FACTS: dict[str, Callable[[Evaluator], Entry]] = {
    "architectures": architectures,
    "attention-tp": attention_tp,
    "multi-layer-eagle": multi_layer_eagle,
    "nextn": nextn,
    "hierarchical-cache": hierarchical_cache,
    "vision-backend": vision_backend,
    "attention-backend": attention_backend,
    "audio-attention": audio_attention,
    "max-running-requests": running_requests,
    "draft-extend-window": draft_extend_window,
    "transcription": transcription,
}
"""Every fact by its name in the catalog."""


def model_code(modules: Modules) -> Iterator[Entry | Unresolved]:
    """The facts of a release, in the order of the catalog, or why one could not be computed."""
    run = Evaluator(modules)
    silence(run)
    for name, read in FACTS.items():
        try:
            entry = read(run)
            yield Entry({"fact": name, **entry.data}, entry.source)
        except (Unresolved, KeyError, SyntaxError) as problem:
            reason = problem.reason if isinstance(problem, Unresolved) else f"{type(problem).__name__}: {problem}"
            yield Unresolved(f"{name}: {reason}")
