"""What SGLang's own front end makes of a tiny checkpoint: configuration, tokenizer, chat template, media processor.

Stand-ins: packages that decode media or need a GPU (torchvision, torchcodec), and torchaudio's spectrogram, which
gives random numbers of the right shape. Reading the folder, rendering the messages, cutting the text at placeholders
and counting tokens are SGLang's and transformers'.
"""

import json
import logging
import sys
import types
import warnings
from unittest import mock

warnings.filterwarnings("ignore")
import numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import transformers.audio_utils  # noqa: E402
import transformers.processing_utils  # noqa: E402
from PIL import Image  # noqa: E402
from stand_in_absent import stand_in_for  # noqa: E402


class MelSpectrogram:
    """torchaudio.transforms.MelSpectrogram with center=True, but for the numbers."""

    def __init__(self, n_mels, hop_length, **options):
        self.mels, self.hop = n_mels, hop_length

    def __call__(self, waveform):
        return torch.rand(*waveform.shape[:-1], self.mels, waveform.shape[-1] // self.hop + 1)


# transformers has it only where torchvision is, and SGLang registers processors of its own in it.
transformers.AutoImageProcessor = mock.MagicMock()
stand_in_for("gguf", "sgl_kernel", "torchaudio", "torchvision")
import torchaudio.transforms  # noqa: E402

torchaudio.transforms.MelSpectrogram = MelSpectrogram
from sglang.srt.utils import common  # noqa: E402, F401

# Only now: transformers, on its way in, would take the stand-in for the package.
stand_in_for("torchcodec")
from sglang.srt.multimodal.processors.mimo_v2 import MiMoV2Processor  # noqa: E402
from sglang.srt.parser.jinja_template_utils import (  # noqa: E402
    detect_jinja_template_content_format,
    process_content_for_template_format,
)
from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler  # noqa: E402
from sglang.srt.utils.hf_transformers_utils import get_config, get_tokenizer  # noqa: E402

MESSAGES = {
    "text": [{"role": "user", "content": "Hello"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "image": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "What is it?"}]}],
    "video": [{"role": "user", "content": [
        {"type": "video_url", "video_url": {"url": "a.mp4"}}, {"type": "text", "text": "What is it?"}]}],
    "audio": [{"role": "user", "content": [
        {"type": "audio_url", "audio_url": {"url": "a.wav"}}, {"type": "text", "text": "What is it?"}]}],
    "tools": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Paris", "days": 2}}}
        ]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ],
}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def render(tokenizer, messages, **options):
    """The prompt as serving_chat makes it, and how many media of each kind it found."""
    media = {"image": [], "video": [], "audio": []}
    form = detect_jinja_template_content_format(tokenizer.chat_template)
    ready = [
        process_content_for_template_format(message, form, media["image"], media["video"], media["audio"], [])
        for message in messages
    ]
    text = tokenizer.apply_chat_template(ready, tokenize=False, add_generation_prompt=True, **options)
    return text, form, {kind: len(found) for kind, found in media.items()}


def expand(processor, text):
    """Token counts after placeholders have become as many tokens as their media have features."""
    media = {
        "images": [Image.fromarray(numpy.full((70, 90, 3), 100, dtype=numpy.uint8))] if "image_pad" in text else None,
        "videos": [(torch.rand(4, 3, 64, 96) * 255, torch.arange(4) / 2)] if "video_pad" in text else None,
        "audios": [numpy.zeros(24000 * 2, dtype=numpy.float32)] if "audio_pad" in text else None,
    }
    found = processor.process_mm_data(text, **media)
    ids = found["input_ids"].flatten().tolist()
    merge = processor.vision_config.spatial_merge_size**2
    features = {
        "image": sum(int(grid.prod()) // merge for grid in found.get("image_grid_thw", ())),
        "video": sum(int(grid.prod()) // merge for grid in found.get("video_grid_thw", ())),
    }
    inner = processor.mimo_processor
    tokens = {kind: ids.count(getattr(inner, f"{kind}_token_id")) for kind in ("image", "video", "audio")}
    mels = [list(mel.shape) for mel in found.get("audio_features", ())]
    return {"features": features, "tokens": tokens, "mels": mels}


def main():
    folder = sys.argv[1]
    logging.basicConfig(level=logging.ERROR)
    with mock.patch.object(ServerArgs, "__post_init__", return_value=None):
        arguments = ServerArgs(model_path=folder, device="cpu", trust_remote_code=True, mm_process_config={})
    set_global_server_args_for_scheduler(arguments)
    config = get_config(folder, trust_remote_code=True)
    tokenizer = get_tokenizer(folder, trust_remote_code=True)
    processor = MiMoV2Processor(config, arguments, types.SimpleNamespace(tokenizer=tokenizer), None)
    prompts, expanded = {}, {}
    for name, messages in MESSAGES.items():
        text, form, media = render(tokenizer, messages, **({"tools": TOOLS} if name == "tools" else {}))
        prompts[name] = {"text": text, "format": form, "media": media}
        if sum(media.values()):
            expanded[name] = expand(processor, text)
    for thinking in (True, False):
        prompts[f"thinking {thinking}"] = {"text": render(tokenizer, MESSAGES["text"], enable_thinking=thinking)[0]}
    special = [tokenizer.encode(token) for token in ("<|im_end|>", "<|image_pad|>", "<think>", "<tool_call>")]
    text = "The server answers: 42!\n\tok"
    print(json.dumps({
        "transformers": transformers.__version__, "config": type(config).__name__, "model_type": config.model_type,
        "tokens": len(tokenizer), "eos": tokenizer.eos_token_id, "config_eos": config.eos_token_id,
        "special": special, "round_trip": tokenizer.decode(tokenizer.encode(text)) == text,
        "prompts": prompts, "expanded": expanded,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
