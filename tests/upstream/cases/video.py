"""SGLang's VideoDecoderWrapper over a real clip and stand-ins for what fails.

Arguments: the clip; then scenarios SOURCE:PIN:ENGINE. SOURCE: decord (as it comes), decord-torch (torch bridge set),
torchcodec or torchcodec-gpu (a stand-in that gives CPU tensors or tensors on a device; the package is not installed).
PIN: what torch.Tensor.pin_memory does: works, or raises one of ERRORS. ENGINE: gpu or cpu.
"""

import hashlib
import json
import logging
import sys
import types
from unittest import mock

import torch
from decord import VideoReader, cpu
from decord.bridge import reset_bridge, set_bridge
from stand_in_absent import stand_in_for

stand_in_for("torchvision")
from sglang.srt.utils import common, video_decoder  # noqa: E402

PINNED = "pinned"
ERRORS = {
    # What cudaHostAlloc's failure becomes in torch, and how torch's own allocators put it.
    "oom": RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the CUDA documentation."),
    "oom-torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "oom-accelerator": torch.AcceleratorError("CUDA error: out of memory", 2),
    "illegal": torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700),
    "type-error": TypeError("out of memory is not what this says"),
}


class OnDevice(torch.Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def is_cuda(self):
        return True

    @property
    def device(self):
        return torch.device("cuda", 0)


class TorchcodecDecoder:
    """Stands for torchcodec.decoders.VideoDecoder: the clip's frames as tensors."""

    on_device = False

    def __init__(self, source, **options):
        self.reader = VideoReader(source, ctx=cpu(0))

    def __len__(self):
        return len(self.reader)

    def get_frames_at(self, indices):
        data = torch.from_numpy(self.reader.get_batch(indices).asnumpy())
        return types.SimpleNamespace(data=data.as_subclass(OnDevice) if self.on_device else data)


def told(frames):
    """Kind, type of the elements, shape and a digest of the contents."""
    tensor = isinstance(frames, torch.Tensor)
    plain = frames.as_subclass(torch.Tensor).numpy() if tensor else frames
    return {
        "kind": "tensor" if tensor else type(frames).__module__ + "." + type(frames).__name__,
        "dtype": str(plain.dtype),
        "shape": list(plain.shape),
        "digest": hashlib.sha256(plain.tobytes()).hexdigest(),
        "pinned": getattr(frames, PINNED, False),
    }


def attempt(function):
    try:
        return told(function())
    except Exception as error:
        return {"raised": type(error).__name__, "message": str(error)}


def run(clip, scenario):
    source, pin, engine = scenario.split(":")

    def pin_memory(tensor):
        if tensor.device.type != "cpu":
            raise RuntimeError("cannot pin 'torch.cuda.ByteTensor' only dense CPU tensors can be pinned")
        if pin != "works":
            raise ERRORS[pin]
        copy = tensor.clone()
        setattr(copy, PINNED, True)
        return copy

    logged = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    video_decoder.logger.addHandler(handler)
    TorchcodecDecoder.on_device = source == "torchcodec-gpu"
    if source == "decord-torch":
        set_bridge("torch")
    try:
        with (
            mock.patch.object(torch.Tensor, "pin_memory", pin_memory),
            mock.patch.object(common, "is_cpu", return_value=engine == "cpu"),
            mock.patch.object(video_decoder, "_BACKEND", source.partition("-")[0]),
            mock.patch.object(video_decoder, "VideoDecoder", TorchcodecDecoder, create=True),
            video_decoder.VideoDecoderWrapper(clip) as decoder,
        ):
            decord = source.startswith("decord")
            return {
                "length": len(decoder),
                "frame": attempt(lambda: decoder[5]) if decord else None,
                "frames": attempt(lambda: decoder.get_frames_at([0, 3, 17, 23])) if decord else None,
                "tensor": attempt(lambda: decoder.get_frames_as_tensor([0, 3, 17, 23])),
                "one": attempt(lambda: decoder.get_frames_as_tensor([9])),
                "logged": logged,
            }
    finally:
        reset_bridge()
        video_decoder.logger.removeHandler(handler)
        if hasattr(video_decoder, "_pin_failure_logged"):
            video_decoder._pin_failure_logged = False


assert video_decoder._BACKEND == "decord"
print(json.dumps({scenario: run(sys.argv[1], scenario) for scenario in sys.argv[2:]}))
