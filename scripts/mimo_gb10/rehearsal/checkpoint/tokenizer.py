"""A small byte-level BPE tokenizer with the special tokens that SGLang's MiMo code names."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|audio_pad|>",
    "<|mimo_audio_start|>",
    "<|mimo_audio_end|>",
    "<|mimo_video_start|>",
    "<|mimo_video_end|>",
)
"""Tokens that decoding leaves out."""
ADDED = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""Tokens of their own that decoding shows: the parsers of reasoning and tool calls look for them."""
EOS, PAD = "<|im_end|>", "<|endoftext|>"

_SUBJECTS = """the server|a user|the model|one node|every rank|the window|an image|the speech|this video|a question
the answer|the cache|our network|the switch|the driver|a patch|the launch|that kernel|an expert|the first token"""
_VERBS = """loads|answers|keeps|reads|writes|asks for|waits for|sends|hears|shows|starts|stops|finds|measures|repeats
compares|splits|counts|fills|describes"""
_OBJECTS = """a long document|the capital of France|ten numbers from zero to nine|the weather in Paris|a red square
three blue circles|the sum of twelve and thirty|a short song|two lines of Python|the name of a city|memory and time
what was said before|the last sixteen words|nothing at all|each layer in turn|a function with one parameter"""
_CHARACTERS = " 0123456789 .,;:!?'\"()[]{}<>/\\|@#$%^&*-_=+~` A B C D E F G H I J K L M N O P Q R S T U V W X Y Z\n\t"


def corpus() -> list[str]:
    """Sentences to train on: subjects, verbs and objects in an order that never changes."""
    subjects, verbs, objects = ("|".join(text.splitlines()).split("|") for text in (_SUBJECTS, _VERBS, _OBJECTS))
    count = math.lcm(len(subjects), len(verbs), len(objects))  # from there on they would repeat
    sentences = [
        f"{subjects[i % len(subjects)].capitalize()} {verbs[i * 7 % len(verbs)]} {objects[i * 3 % len(objects)]}, "
        f"and {subjects[i * 11 % len(subjects)]} {verbs[i * 13 % len(verbs)]} {objects[i * 5 % len(objects)]}."
        for i in range(count)
    ]
    return [*sentences, _CHARACTERS]


def token_ids(folder: Path) -> dict[str, int]:
    """Every token of `tokenizer.json` with its id, the added ones too.

    Raises:
        OSError: If the file can't be read.
        ValueError: If it is no JSON.
    """
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return {**data["model"]["vocab"], **{token["content"]: token["id"] for token in data["added_tokens"]}}


def write_tokenizer(folder: Path, vocabulary: int, context_length: int) -> dict[str, int]:
    """Train and write `tokenizer.json` and `tokenizer_config.json`; needs the tokenizers package.

    Args:
        folder: Where to write.
        vocabulary: Number of tokens; every id below it gets one.
        context_length: Tokens that the tokenizer accepts without a warning.

    Returns:
        Every token and its id.

    Raises:
        ValueError: If the corpus doesn't yield so many tokens.
    """
    tokenizers: Any = importlib.import_module("tokenizers")
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    own = vocabulary - len(SPECIAL) - len(ADDED)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=own, special_tokens=[], show_progress=False, initial_alphabet=byte_level.alphabet()
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    if tokenizer.get_vocab_size() != own:
        raise ValueError(f"the corpus yields {tokenizer.get_vocab_size()} tokens, not {own}")
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens(list(ADDED))
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "Qwen2_5_VLProcessor",
        "eos_token": EOS,
        "pad_token": PAD,
        "additional_special_tokens": list(SPECIAL),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return token_ids(folder)


def _byte_of(character: str) -> int:
    """The byte that byte-level BPE writes as this character: printable ones as themselves, the others from U+0100."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    code = ord(character)
    return code if code < 256 else hidden[code - 256]


def never_generated(tokens: dict[str, int]) -> tuple[int, ...]:
    """Ids that the model must not generate, sorted.

    Special and added tokens, which would end a text or open a reasoning part or a tool call; tokens with a byte that is
    no printable ASCII, newline or tab, so that any text the model writes is valid UTF-8 however it is cut.
    """
    added = {*SPECIAL, *ADDED}

    def plain(token: str) -> bool:
        return all(32 <= byte < 127 or byte in (9, 10) for byte in map(_byte_of, token))

    return tuple(sorted(number for token, number in tokens.items() if token in added or not plain(token)))
