"""Pinning large tensors fails in every process of the ranks, as it does on a GB10 whose unified memory is nearly full.

Python imports a module of this name at its start. PyTorch is changed when the process itself imports it; to import it
here would cost every process seconds.
"""

import importlib.abc
import importlib.machinery
import sys

LARGE = 64 * 1024
"""Bytes from which it fails. SGLang pins many small tensors; what runs out first is room for large ones."""


def _spoil(torch):
    pin = torch.Tensor.pin_memory

    def pin_memory(self, *arguments, **options):
        if self.numel() * self.element_size() >= LARGE:
            # The words of CUDA's own error.
            raise RuntimeError("CUDA error: out of memory (made to fail by the rehearsal)")
        return pin(self, *arguments, **options)

    torch.Tensor.pin_memory = pin_memory


class _Loader(importlib.abc.Loader):
    def __init__(self, real):
        self._real = real

    def create_module(self, spec):
        return self._real.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._real
        self._real.exec_module(module)
        _spoil(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
