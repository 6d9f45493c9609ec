"""POST /v1/audio/transcriptions, from SGLang's route to the tokenized request, and MiMo's processor by itself.

The argument is a JSON object. ``endpoint``: named requests, each ``{"form": ..., "answer": [text so far, ...]}``;
``processor``: what the processor gets as ``input_text``; ``generate``: texts whose token ids are sent with audio;
``adapters``: names of architectures. Real are the web application, the handler, the adapter, the tokenizer manager's
tokenization with its SamplingParams, the processor and its loading of audio. Stood in for: the engine that would answer
(``answer``), the mel spectrogram of torchaudio, a checkpoint (a small tokenizer and configuration).
"""

import asyncio
import collections
import contextlib
import io
import json
import logging
import sys
import types
from unittest import mock

import numpy as np
import soundfile
import tokenizers
import torch
import transformers
import transformers.audio_utils
import transformers.processing_utils
from stand_in_absent import stand_in_for

ARCHITECTURE = "MiMoV2ForCausalLM"
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<|audio_pad|>", "<|mimo_audio_start|>", "<|mimo_audio_end|>", "<|mimo_video_start|>",
    "<|mimo_video_end|>",
]  # fmt: skip
# What matters of MiMo-V2.5's: no line break between turns, a system turn of its own, and what enable_thinking does.
TEMPLATE = (
    "<|im_start|>system\nYou are MiMo.<|im_end|>"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}"
)
RATE, SECONDS = 24000, 1.3


class MelSpectrogram:
    """torchaudio's has one frame per hop, and one more for the centred window."""

    def __init__(self, hop_length, n_mels, **kwargs):
        self.hop_length, self.n_mels = hop_length, n_mels

    def __call__(self, waveform):
        return torch.ones(waveform.shape[0], self.n_mels, waveform.shape[1] // self.hop_length + 1)


class ImageProcessors:
    """transformers offers its AutoImageProcessor only where torchvision is; SGLang registers its own in it."""

    @staticmethod
    def register(*args, **kwargs):
        pass


transformers.AutoImageProcessor = ImageProcessors
stand_in_for("gguf", "sgl_kernel", "torchaudio", "torchvision")
import torchaudio.transforms  # noqa: E402

torchaudio.transforms.MelSpectrogram = MelSpectrogram

# Audio is read with soundfile, as on a machine without torchcodec; the processor's module still names torchcodec.
from sglang.srt.utils import common  # noqa: E402, F401

stand_in_for("torchcodec")
from fastapi.testclient import TestClient  # noqa: E402
from sglang.srt.entrypoints.http_server import app  # noqa: E402
from sglang.srt.entrypoints.openai.serving_transcription import OpenAIServingTranscription  # noqa: E402
from sglang.srt.entrypoints.openai.transcription_adapters import resolve_adapter  # noqa: E402
from sglang.srt.managers.io_struct import GenerateReqInput  # noqa: E402
from sglang.srt.managers.tokenizer_manager import TokenizerManager  # noqa: E402
from sglang.srt.multimodal.processors.mimo_v2 import MiMoV2Processor  # noqa: E402
from sglang.srt.sampling.sampling_params import SamplingParams  # noqa: E402
from sglang.srt.server_args import ServerArgs  # noqa: E402


def small_tokenizer():
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(tokenizers.models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    made.add_tokens(["<think>", "</think>"])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE
    return fast


def small_config(tokenizer):
    def token(name):
        return tokenizer.convert_tokens_to_ids(f"<|{name}|>")

    processor = {
        "audio_sampling_rate": RATE, "use_video_timestamps": True, "video_audio_interleave_length": -1,
        "vision_start_token_id": token("vision_start"), "vision_end_token_id": token("vision_end"),
        "image_token_id": token("image_pad"), "video_token_id": token("video_pad"),
        "audio_token_id": token("audio_pad"),
        "audio_start_token_id": token("mimo_audio_start"), "audio_end_token_id": token("mimo_audio_end"),
        "video_start_token_id": token("mimo_video_start"), "video_end_token_id": token("mimo_video_end"),
    }  # fmt: skip
    vision = {"patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "tokens_per_second": 2}
    return types.SimpleNamespace(
        architectures=[ARCHITECTURE],
        processor_config=processor,
        vision_config=vision,
        audio_config={},
        rope_scaling=None,
    )


def published_arguments():
    """Arguments of a server, in the place where the release looks for them."""
    arguments = ServerArgs(model_path="dummy", device="cpu", mm_process_config={})
    try:
        from sglang.srt.runtime_context import publish
    except ImportError:
        from sglang.srt.server_args import set_global_server_args_for_scheduler

        set_global_server_args_for_scheduler(arguments)
    else:
        publish(arguments, role="tokenizer")
    return arguments


class Off:
    """Whatever is not set here is off; releases ask for different things."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)


class ModelConfig(Off):
    is_multimodal, context_len = True, 100000

    def __init__(self, config, tokenizer):
        self.hf_config, self.vocab_size = config, len(tokenizer)


class Manager(Off, TokenizerManager):
    """The tokenizer manager without its processes: it tokenizes, and answers itself."""

    def __init__(self, arguments, config, tokenizer, processor):
        self.server_args = arguments
        self.model_config = ModelConfig(config, tokenizer)
        self.tokenizer, self.mm_processor = tokenizer, processor
        self.served_model_name = "mimo"
        self.context_len, self.num_reserved_tokens = self.model_config.context_len, 0
        self.validate_total_tokens, self.is_generation = True, True
        self.sampling_params_class = SamplingParams
        self.request_logger = types.SimpleNamespace(log_requests=False, log_requests_level=0)
        self.rid_to_state = collections.defaultdict(mock.MagicMock)  # holds only times
        self.answer, self.tokenized, self.received = [], [], []
        self.tokenizes = True

    def create_abort_task(self, obj):
        return None

    async def generate_request(self, obj, request=None):
        obj.normalize_batch_and_arguments()
        self.received.append(obj)
        if self.tokenizes:
            self.tokenized.append(await self._tokenize_one_request(obj))
        for so_far in self.answer if obj.stream else self.answer[-1:]:
            finish = {"type": "stop"} if so_far is self.answer[-1] else None
            yield {"text": so_far, "output_ids": [], "meta_info": {"finish_reason": finish}}


def wav(seconds=SECONDS):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(RATE * seconds), dtype="float32"), RATE, format="WAV")
    return file.getvalue()


def tokens_of(ids, tokenizer):
    """Token ids as text, a single run of audio placeholders as one with its length."""
    pad = tokenizer.convert_tokens_to_ids("<|audio_pad|>")
    ids = [int(i) for i in ids]
    count = ids.count(pad)
    if count:
        start = ids.index(pad)
        if ids[start : start + count] == [pad] * count:
            ids[start : start + count] = [pad]
    return {"text": tokenizer.decode(ids), "audio": count}


def raised(error):
    return {"raised": type(error).__name__, "message": str(error)}


def run_processor(manager, fields):
    """As the tokenizer manager calls it; ``ids``: the token ids of that text."""
    value = manager.tokenizer.encode(fields["ids"]) if "ids" in fields else fields["value"]
    audio = [wav()] if fields.get("audio", True) else None
    request = GenerateReqInput(text="", audio_data=audio, sampling_params={})
    try:
        output = asyncio.run(
            manager.mm_processor.process_mm_data_async(
                image_data=None, audio_data=audio, input_text=value, request_obj=request, max_req_input_len=1000
            )
        )
    except Exception as error:
        return raised(error)
    return {**tokens_of(output.input_ids, manager.tokenizer), "items": [item.modality.name for item in output.mm_items]}


def run_generate(manager, text):
    """A request to /generate with token ids and audio, as far as its tokenization."""
    request = GenerateReqInput(input_ids=manager.tokenizer.encode(text), audio_data=[wav()], sampling_params={})
    request.normalize_batch_and_arguments()
    try:
        tokenized = asyncio.run(manager._tokenize_one_request(request))
    except Exception as error:
        return raised(error)
    return tokens_of(tokenized.input_ids, manager.tokenizer)


def events(body):
    """The text and the end of each server-sent event; what is not a chunk, as it is."""
    found = []
    for line in filter(None, body.split("\n\n")):
        data = line.removeprefix("data: ")
        chunk = {} if data == "[DONE]" else json.loads(data)
        found += [[choice["delta"]["content"], choice["finish_reason"]] for choice in chunk.get("choices", ())] or [
            data
        ]
    return found


def run_endpoint(manager, client, logs, wanted):
    manager.answer = wanted.get("answer", ["hello"])
    manager.tokenizes = wanted.get("tokenize", True)
    manager.tokenized.clear()
    manager.received.clear()
    logs.clear()
    with contextlib.ExitStack() as changed:
        config = manager.model_config.hf_config
        changed.enter_context(mock.patch.object(config, "architectures", [wanted.get("architecture", ARCHITECTURE)]))
        if wanted.get("unreadable"):  # only the call that reads the duration fails
            changed.enter_context(
                mock.patch.object(OpenAIServingTranscription, "_get_audio_duration", return_value=0.0)
            )
        if wanted.get("text_only"):
            changed.enter_context(mock.patch.object(manager, "mm_processor", None))
        app.state.openai_serving_transcription = OpenAIServingTranscription(manager)
        answer = client.post(
            "/v1/audio/transcriptions",
            files={"file": ("speech.wav", wav(wanted.get("seconds", SECONDS)), "audio/wav")},
            data=wanted.get("form", {}),
        )
    kind = answer.headers["content-type"].partition(";")[0]
    readers = {"application/json": json.loads, "text/event-stream": events}
    found = {"status": answer.status_code, "type": kind, "body": readers.get(kind, str)(answer.text), "log": list(logs)}
    if manager.received:
        found["sent"] = {"text": manager.received[0].text, "sampling": manager.received[0].sampling_params}
    if manager.tokenized:
        request = manager.tokenized[0]
        params = request.sampling_params
        found["tokenized"] = tokens_of(request.input_ids, manager.tokenizer) | {
            "temperature": params.temperature, "top_k": params.top_k, "max_new_tokens": params.max_new_tokens,
        }  # fmt: skip
    return found


class Messages(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def main():
    wanted = json.loads(sys.argv[1])
    tokenizer = small_tokenizer()
    arguments = published_arguments()
    config = small_config(tokenizer)
    processor = MiMoV2Processor(config, arguments, types.SimpleNamespace(tokenizer=tokenizer), "default")
    manager = Manager(arguments, config, tokenizer, processor)
    logs = Messages()
    logging.getLogger().addHandler(logs)
    # Not entered: the application's start-up would load a model.
    client = TestClient(app, raise_server_exceptions=False)
    found = {
        "adapters": {name: type(resolve_adapter([name])).__name__ for name in wanted["adapters"]},
        "processor": [run_processor(manager, fields) for fields in wanted["processor"]],
        "generate": [run_generate(manager, text) for text in wanted["generate"]],
        "endpoint": {
            name: run_endpoint(manager, client, logs.messages, fields) for name, fields in wanted["endpoint"].items()
        },
    }
    print(json.dumps(found))


main()
