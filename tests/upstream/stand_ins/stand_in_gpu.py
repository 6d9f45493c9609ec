"""A CUDA GPU of a given compute capability, and sgl_kernel's FlashAttention 3 as the wheels behave on it."""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch


@contextlib.contextmanager
def gpu(major: int, minor: int) -> Iterator[None]:
    """What SGLang asks about a GPU while it imports a module; tensors stay on the CPU."""
    from sglang.srt import utils

    with (
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "get_device_capability", return_value=(major, minor)),
        mock.patch.object(torch.version, "cuda", "13.0"),
    ):
        utils.is_cuda.cache_clear()
        yield
    utils.is_cuda.cache_clear()


@contextlib.contextmanager
def flash_attention(major: int, library: bool, kernel: Callable[..., Any]) -> Iterator[None]:
    """sgl_kernel.flash_attn in place, for modules that are imported within.

    As read in sglang-kernel 0.4.2 and 0.4.4: without the compiled library flash_ops the import raises; with it the
    function raises when it is called, unless the GPU's capability is 8.x or 9.x.

    Args:
        major: First number of the GPU's capability.
        library: Whether flash_ops is there. The aarch64 wheel of 0.4.4 comes without.
        kernel: Called where the wheel would call its compiled kernel.
    """

    def flash_attn_varlen_func(*args: Any, **kwargs: Any) -> Any:
        if major not in (8, 9):
            raise NotImplementedError("flash_attn at sgl-kernel is only supported on sm90 and above")
        return kernel(*args, **kwargs)

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        """Stands for the file sgl_kernel/flash_attn.py."""

        def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
            return importlib.util.spec_from_loader(name, self) if name == "sgl_kernel.flash_attn" else None

        def exec_module(self, module: types.ModuleType) -> None:
            if not library:
                raise ImportError("Can not import FA3 in sgl_kernel. Please check your installation.")
            module.flash_attn_varlen_func = flash_attn_varlen_func
            module.is_fa3_supported = lambda device=None: major in (8, 9)

    package = types.ModuleType("sgl_kernel")
    package.__path__ = []
    finder = Finder()
    with (
        mock.patch.dict(sys.modules, {"sgl_kernel": package}),
        mock.patch.object(sys, "meta_path", [finder, *sys.meta_path]),
    ):
        sys.modules.pop("sgl_kernel.flash_attn", None)
        yield
