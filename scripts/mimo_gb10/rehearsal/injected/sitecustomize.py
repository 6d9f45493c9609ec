"""What a rehearsal changes inside the processes of the ranks. Python imports a module of this name at its start.

Each change waits for the import of the module that it is about: to import PyTorch here would cost every process
seconds. The environment says which are wanted:

    REHEARSAL_FAULT=pin-memory         pinning large tensors fails, as on a GB10 whose unified memory is nearly full
    REHEARSAL_FAULT=pdl                kernels are launched without programmatic dependent launch, as before Hopper
    REHEARSAL_AUDIO_CAPABILITY=12.1    MiMo's audio encoder is told this compute capability when it is imported
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import sys

LARGE = 64 * 1024
"""Bytes from which pinning fails. SGLang pins many small tensors; what runs out first is room for large ones."""

AUDIO = "sglang.srt.models.mimo_audio"

PDL = ("sgl_kernel.utils", "sglang.jit_kernel.utils", "sglang.kernels.jit.utils.arch")
"""Modules that say whether the GPU has programmatic dependent launch: sglang-kernel's, 0.5.11's and 0.5.17's."""


@contextlib.contextmanager
def _without_pinning(torch):
    yield
    pin = torch.Tensor.pin_memory

    def pin_memory(self, *arguments, **options):
        if self.numel() * self.element_size() >= LARGE:
            # The words of CUDA's own error.
            raise RuntimeError("CUDA error: out of memory (made to fail by the rehearsal)")
        return pin(self, *arguments, **options)

    torch.Tensor.pin_memory = pin_memory


@contextlib.contextmanager
def _with_capability(module):
    import sglang.srt.utils as utils

    major, minor = map(int, os.environ["REHEARSAL_AUDIO_CAPABILITY"].split("."))
    real = utils.get_device_capability
    utils.get_device_capability = lambda *arguments, **options: (major, minor)
    try:
        yield
    finally:
        utils.get_device_capability = real


@contextlib.contextmanager
def _without_pdl(module):
    yield
    if not hasattr(module, "is_arch_support_pdl"):
        raise ImportError(f"{module.__name__} has no is_arch_support_pdl: this SGLang decides elsewhere")
    module.is_arch_support_pdl = lambda: False


class _Loader(importlib.abc.Loader):
    def __init__(self, real, change):
        self._real = real
        self._change = change

    def create_module(self, spec):
        return self._real.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._real
        with self._change(module):
            self._real.exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes):
        self._changes = changes

    def find_spec(self, name, path=None, target=None):
        change = self._changes.pop(name, None)
        if change is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, change)
        return spec


_changes = {}
_faults = os.environ.get("REHEARSAL_FAULT", "").split()
if "pin-memory" in _faults:
    _changes["torch"] = _without_pinning
if "pdl" in _faults:
    _changes.update(dict.fromkeys(PDL, _without_pdl))
if os.environ.get("REHEARSAL_AUDIO_CAPABILITY"):
    _changes[AUDIO] = _with_capability
if _changes:
    sys.meta_path.insert(0, _Finder(_changes))
