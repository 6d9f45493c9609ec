"""The tiny checkpoint as far as it needs no torch: dimensions, names, files, and what `validate` notices."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import pytest

from mimo_gb10.model import load_model
from mimo_gb10.paths import MODELS
from mimo_gb10.rehearsal.checkpoint import config, layout, tokenizer
from mimo_gb10.rehearsal.checkpoint import validate as validating
from mimo_gb10.rehearsal.checkpoint.make import RECORD
from mimo_gb10.rehearsal.checkpoint.shape import FP8_BLOCK, tiny_shape
from mimo_gb10.rehearsal.checkpoint.validate import expected_header, read_header, validate

FACTS = load_model(MODELS / "mimo-v2.5.yaml").facts
TEMPLATE = Path(config.__file__).parent / "chat_template.jinja"
SIZES = [1, 2, 4]


# --- dimensions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", SIZES)
def test_what_chooses_code_is_as_in_the_real_model(ranks: int) -> None:
    shape, attention = tiny_shape(ranks), FACTS["attention"]
    for kind in (shape.full, shape.sliding):
        assert kind.head_dim == attention["head_dim"]
        assert kind.value_head_dim == attention["value_head_dim"]
    real_ranks = attention["fused_qkv_tensor_parallel"]
    assert shape.full.kv_heads // ranks == attention["full"]["kv_heads"] // real_ranks == 1
    assert shape.sliding.kv_heads // ranks == attention["sliding_window"]["kv_heads"] // real_ranks == 2
    assert (shape.full.window, shape.full.sinks) == (None, False)
    assert (shape.sliding.window, shape.sliding.sinks) == (128, True)
    assert shape.pattern[0] == shape.pattern[-1] == 0
    assert shape.mixtures[0] == 0
    assert 1 in shape.pattern
    assert all(shape.mixtures[1:])
    assert shape.partial_rotary == attention["partial_rotary"]
    assert shape.experts_per_token == FACTS["moe"]["experts_per_token"]
    assert shape.context_length >= 32768


@pytest.mark.parametrize("ranks", SIZES)
def test_every_part_divides_among_the_ranks(ranks: int) -> None:
    shape = tiny_shape(ranks)
    for heads in (
        shape.full.query_heads, shape.full.kv_heads, shape.sliding.kv_heads, shape.vision.query_heads,
        shape.vision.kv_heads, shape.audio.tokenizer_heads, shape.experts,
    ):  # fmt: skip
        assert heads % ranks == 0
    # Block-quantised weights are cut at block boundaries.
    for columns in (shape.intermediate_size, shape.expert_intermediate_size):
        assert columns % (ranks * FP8_BLOCK) == 0
    # One rank's rows of a full layer end inside a block, as in the real model.
    assert shape.full.qkv_rows // ranks % FP8_BLOCK == 64
    assert shape.sliding.qkv_rows // ranks % FP8_BLOCK == 0


@pytest.mark.parametrize("ranks", [0, 3, 8])
def test_other_sizes_are_refused(ranks: int) -> None:
    with pytest.raises(ValueError, match=f"must be 1, 2 or 4, not {ranks}"):
        tiny_shape(ranks)


# --- tensors ------------------------------------------------------------------------------------------------------


def tensors(ranks: int) -> dict[str, layout.Tensor]:
    return {tensor.name: tensor for tensor in layout.main_tensors(tiny_shape(ranks))}


@pytest.mark.parametrize("ranks", SIZES)
def test_each_rank_has_its_own_block_scales_of_the_fused_projection(ranks: int) -> None:
    """1088 rows a rank are eight and a half blocks: nine scales, and not half a block of the next rank's."""
    found = tensors(ranks)["model.layers.0.self_attn.qkv_proj.weight"]
    assert found.shape == (1088 * ranks, 512)
    assert found.scale_name == "model.layers.0.self_attn.qkv_proj.weight_scale_inv"
    assert found.scale_shape == (9 * ranks, 4)


def test_types_are_those_of_the_real_model() -> None:
    found = tensors(2)
    types = {name: tensor.dtype for name, tensor in found.items()}
    assert types["lm_head.weight"] == types["model.layers.1.self_attn.o_proj.weight"] == "BF16"
    assert types["model.layers.1.mlp.gate.weight"] == "F32"
    assert types["model.layers.1.mlp.gate.e_score_correction_bias"] == "F32"
    fp8 = {name for name, dtype in types.items() if dtype == "F8_E4M3"}
    assert {name.rsplit(".", 2)[1] for name in fp8} == {"qkv_proj", "gate_proj", "up_proj", "down_proj"}
    assert all(name.startswith("model.") for name in fp8)


def test_sinks_and_mixtures_are_where_the_pattern_says() -> None:
    names = set(tensors(2))
    for layer, sliding in enumerate(tiny_shape(2).pattern):
        assert (f"model.layers.{layer}.self_attn.attention_sink_bias" in names) == bool(sliding)
        assert (f"model.layers.{layer}.mlp.experts.31.up_proj.weight" in names) == (layer > 0)
        assert (f"model.layers.{layer}.mlp.up_proj.weight" in names) == (layer == 0)
    assert {name.split(".")[3] for name in names if ".mtp." in name} == {"0", "1", "2"}
    assert "model.mtp.layers.2.self_attn.attention_sink_bias" in names


def test_what_adds_to_the_residual_stream_leaves_its_constant_channel_alone() -> None:
    for name, tensor in tensors(2).items():
        if name.endswith(("o_proj.weight", "mlp.down_proj.weight")) or (".experts." in name and "down_proj" in name):
            text = name.startswith("model.")
            assert (tensor.fill.row == 0.0) == text, name


def test_no_name_is_used_twice() -> None:
    found = [tensor.name for tensor in layout.main_tensors(tiny_shape(4))]
    assert len(found) == len(set(found))


# --- tokens -------------------------------------------------------------------------------------------------------


def spelled(text: bytes) -> str:
    """Text as byte-level BPE spells it, by the rule that GPT-2's tokenizer set."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return "".join(chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in text)


@pytest.mark.parametrize(
    ("text", "never"),
    [
        (b"word", False), (b" the", False), (b"\n\t", False), (b"~", False),
        (b"\x00", True), (b"\r", True), (b"\x7f", True), (b"\xc3", True), (b"a\xa9", True), ("é".encode(), True),
    ],
)  # fmt: skip
def test_only_printable_ascii_is_generated(text: bytes, never: bool) -> None:
    assert tokenizer.never_generated({spelled(text): 5}) == ((5,) if never else ())


def test_special_tokens_are_never_generated() -> None:
    tokens = {token: number for number, token in enumerate([*tokenizer.SPECIAL, *tokenizer.ADDED, "plain"])}
    assert tokenizer.never_generated(tokens) == tuple(range(len(tokens) - 1))


def test_the_corpus_is_the_same_each_time_and_repeats_no_sentence() -> None:
    found = tokenizer.corpus()
    assert found == tokenizer.corpus()
    assert len(found) == len(set(found)) > 80


# --- the chat template --------------------------------------------------------------------------------------------


def render(messages: list[dict[str, Any]], **options: Any) -> str:
    """As transformers renders it."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(messages=messages, add_generation_prompt=True, **options)


SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>"
BRIEF = {"role": "system", "content": "Be brief."}


def test_turns() -> None:
    text = render([BRIEF, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
    turns = "<|im_start|>user\nHi<|im_end|><|im_start|>assistant\nHo<|im_end|><|im_start|>assistant\n"
    assert text == SYSTEM + turns


def test_a_conversation_without_a_system_turn_gets_one() -> None:
    assert render([{"role": "user", "content": "Hi"}]).startswith("<|im_start|>system\n")


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ({}, "assistant\n"), ({"enable_thinking": True}, "assistant\n"),
        ({"enable_thinking": False}, "assistant\n<think></think>"),
    ],
)  # fmt: skip
def test_thinking_is_on_unless_it_is_switched_off(options: dict[str, Any], end: str) -> None:
    assert render([BRIEF], **options) == f"{SYSTEM}<|im_start|>{end}"


@pytest.mark.parametrize(
    ("kinds", "placeholder"),
    [
        (("image", "image_url"), "<|vision_start|><|image_pad|><|vision_end|>"),
        (("video", "video_url"), "<|vision_start|><|video_pad|><|vision_end|>"),
        (("audio", "audio_url", "input_audio"), "<|mimo_audio_start|><|audio_pad|><|mimo_audio_end|>"),
    ],
)
def test_media_become_the_placeholders_that_sglang_looks_for(kinds: tuple[str, ...], placeholder: str) -> None:
    for kind in kinds:
        parts = [{"type": "text", "text": "A "}, {"type": kind}, {"type": "text", "text": " B"}]
        assert f"user\nA {placeholder} B<|im_end|>" in render([{"role": "user", "content": parts}])


def test_tools_are_listed_and_calls_and_answers_rendered_back() -> None:
    tool = {"type": "function", "function": {"name": "weather", "description": "für morgen"}}
    arguments = {"city": "Paris", "days": 2}
    calls = [{"function": {"name": "weather", "arguments": arguments}}, {"function": {"name": "none", "arguments": {}}}]
    text = render(
        [
            BRIEF, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "sunny"}, {"role": "tool", "content": "dry"},
        ],
        tools=[tool],
    )  # fmt: skip
    assert f"<tools>\n{json.dumps(tool, ensure_ascii=False)}\n</tools>" in text
    assert text.startswith("<|im_start|>system\nBe brief.\n\n")
    first = "<tool_call>\n<function=weather>\n<parameter=city>Paris</parameter>\n<parameter=days>2</parameter>\n"
    both = f"{first}</function>\n</tool_call><tool_call>\n<function=none>\n</function>\n</tool_call>"
    answers = "<tool_response>\nsunny\n</tool_response><tool_response>\ndry\n</tool_response>"
    assert f"assistant\n{both}<|im_end|><|im_start|>user\n{answers}<|im_end|><|im_start|>assistant\n" in text


# --- validate -----------------------------------------------------------------------------------------------------


def write_weights(path: Path, found: validating.Header) -> None:
    """A safetensors file with these tensors, all zero; a hole in the file where the file system has holes."""
    sizes, entries, at = {"BF16": 2, "F32": 4, "F8_E4M3": 1}, {}, 0
    for name, (dtype, shape) in found.items():
        size = sizes[dtype]
        for length in shape:
            size *= length
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + at)


def write_record(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD
    }
    record = {"tensor_parallel": 1, "seed": 0, "mtp_layers": 1, "files": files}
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid folder without random numbers, for one rank."""
    folder, shape = tmp_path_factory.mktemp("good"), tiny_shape(1, 1)
    (folder / "audio_tokenizer").mkdir()
    names = [*tokenizer.SPECIAL, *tokenizer.ADDED]
    own = shape.vocabulary - len(names)
    added = [{"content": token, "id": own + i} for i, token in enumerate(names)]
    vocabulary = {f"t{number}": number for number in range(own)}
    write_json(folder / "tokenizer.json", {"model": {"vocab": vocabulary}, "added_tokens": added})
    tokens = tokenizer.token_ids(folder)
    write_json(folder / "config.json", config.model_config(shape, tokens))
    write_json(folder / "generation_config.json", config.generation_config(tokens))
    write_json(folder / "preprocessor_config.json", config.preprocessor_config(shape))
    write_json(folder / "audio_tokenizer" / "config.json", config.audio_tokenizer_config(shape))
    shutil.copy(TEMPLATE, folder)
    audio = expected_header(layout.audio_tokenizer_tensors(shape))
    write_weights(folder / "audio_tokenizer" / "model.safetensors", audio)
    header = expected_header(layout.main_tensors(shape))
    halves = [dict(list(header.items())[::2]), dict(list(header.items())[1::2])]
    places: dict[str, str] = {}
    total = 0
    for number, half in enumerate(halves, 1):
        path = folder / f"model-0000{number}-of-00002.safetensors"
        write_weights(path, half)
        places |= dict.fromkeys(half, path.name)
        total += path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[:8], "little")
    write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places}
    )  # fmt: skip
    write_record(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of the valid folder that a test may change by replacing files."""
    return Path(shutil.copytree(good, tmp_path / "copy", copy_function=os.link))


def replace_json(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.unlink()
    write_json(path, value)


def replace_weights(path: Path, change: Callable[[validating.Header], object]) -> None:
    found = read_header(path)
    change(found)
    path.unlink()
    write_weights(path, found)


def test_a_good_folder_has_no_problem(folder: Path) -> None:
    assert validate(folder, 1) == []


def test_bytecode_of_the_configuration_class_is_no_problem(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "configuration_mimo_tiny.cpython-312.pyc").write_bytes(b"x")
    assert validate(folder, 1) == []


def test_it_is_asked_about_the_size_that_it_is_made_for(folder: Path) -> None:
    assert validate(folder, 2) == ["the checkpoint is made for tensor parallel 1, not 2"]


def test_no_folder(tmp_path: Path) -> None:
    (problem,) = validate(tmp_path / "nothing", 1)
    assert problem.startswith("rehearsal.json can't be read: ")


def test_missing_changed_and_unknown_files(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    replace_json(folder / "config.json", lambda value: value.update(hidden_size=1))
    (folder / "stray.txt").write_text("x")
    assert validate(folder, 1) == [
        "config.json has another sha256 than rehearsal.json says",
        "generation_config.json is missing",
        "stray.txt is not in rehearsal.json",
    ]


SHARD, AUDIO = "model-00001-of-00002.safetensors", "audio_tokenizer/model.safetensors"
NAME = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        (SHARD, lambda header: header.pop(NAME), [f"the index: {NAME} is missing"]),
        (SHARD, lambda header: header.update(more=("F32", (1,))),
         ["the index has more in None", "the index: more is unknown"]),
        (SHARD, lambda header: header.update({NAME: ("BF16", (512, 640))}),
         [f"the index: {NAME} is BF16 [512, 640], must be BF16 [640, 512]"]),
        (SHARD, lambda header: header.update({NAME: ("F32", (640, 512))}),
         [f"the index: {NAME} is F32 [640, 512], must be BF16 [640, 512]"]),
        (AUDIO, lambda header: header.pop("encoder.conv1.bias"), ["audio_tokenizer: encoder.conv1.bias is missing"]),
    ],
)  # fmt: skip
def test_tensors(folder: Path, file: str, change: Callable[[validating.Header], object], expected: list[str]) -> None:
    replace_weights(folder / file, change)
    write_record(folder)
    found = validate(folder, 1)
    for problem in expected:
        assert any(line.startswith(problem) for line in found), found


def test_the_index(folder: Path) -> None:
    def change(index: Any) -> None:
        index["weight_map"][NAME] = "model-00002-of-00002.safetensors"
        index["weight_map"]["ghost"] = SHARD
        index["metadata"]["total_size"] += 1

    replace_json(folder / "model.safetensors.index.json", change)
    write_record(folder)
    first, second, third = validate(folder, 1)
    assert first == f"the index has {NAME} in model-00002-of-00002.safetensors, it is in {SHARD}"
    assert second == "the index names ghost, which no file has"
    assert third.startswith("the index says ")


def test_settings_and_tokens(folder: Path) -> None:
    replace_json(folder / "config.json", lambda value: value.update(sliding_window_size=127, extra=1))
    replace_json(folder / "tokenizer.json", lambda value: value["added_tokens"].pop())
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").write_text("<|im_start|> <|image_pad|> <|video_pad|> enable_thinking <tool_call>")
    write_record(folder)
    assert validate(folder, 1) == [
        "the tokenizer lacks </tool_response>",
        "the tokenizer's ids are not 0 to 639, each once",
        "config.json: extra is 1, must be None",
        "config.json: sliding_window_size is 127, must be 128",
        "the chat template lacks <|audio_pad|>",
    ]


def cut(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(change(data))


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:5], lambda data: b"\xff" * 16]
)
def test_a_broken_weights_file_is_a_problem_and_no_crash(folder: Path, change: Callable[[bytes], bytes]) -> None:
    cut(folder / AUDIO, change)
    write_record(folder)
    (problem,) = validate(folder, 1)
    assert problem.startswith("a file can't be read: ")


@pytest.mark.parametrize("offsets", [[0, 3], [2, 6], [0, 8]])
def test_tensors_fill_their_file_without_gap_or_overlap(tmp_path: Path, offsets: Iterable[int]) -> None:
    path = tmp_path / "one.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match="a lies at"):
        read_header(path)
