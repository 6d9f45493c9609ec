"""Stands where sglang-kernel keeps FlashAttention 3, which is left out of the bundle for its size.

Importing this passes, as importing the library does on every CUDA machine. A call fails with the error that the
kernel library's wrapper raises on a GPU without FlashAttention 3, such as GB10.
"""

from typing import Any, NoReturn

import torch

REASON = "flash_attn at sgl-kernel is only supported on sm90 and above"


class _Refuses:
    """An operator that only refuses; ``.default`` is how PyTorch names an operator's one overload."""

    @property
    def default(self) -> "_Refuses":
        return self

    def __call__(self, *_arguments: Any, **_named: Any) -> NoReturn:
        raise NotImplementedError(f"{REASON} (this bundle carries no FlashAttention 3)")


for _name in ("fwd", "get_scheduler_metadata"):
    setattr(torch.ops.sgl_kernel, _name, _Refuses())
