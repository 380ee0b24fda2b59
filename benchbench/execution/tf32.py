"""TF32: the rounding of float32 inputs to 10 bits of mantissa, by which GPUs of NVIDIA since Ampere are faster.

PyTorch allows it for convolutions, and not for matrix products. It is set here alone, by `allow_tf32`: torch 2.6 to
2.14 know it, its setter keeps the newer `fp32_precision` in step, and compilers of torch up to 2.9 read it, which fails
where the newer one has been set by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def has_tf32(device: torch.device) -> bool:
    """True where a device computes in TF32 where that is allowed."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


@contextlib.contextmanager
def tf32_convolutions(device: torch.device, allowed: bool) -> Iterator[None]:
    """Lets float32 convolutions of a GPU use TF32, or forbids it; matrix products do not, as PyTorch has it.

    It holds for the whole process, backward passes included; on other devices nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    before = _allowed()
    _allow(allowed, False)
    try:
        yield
    finally:
        _allow(*before)


def _allowed() -> tuple[bool, bool]:
    """True where convolutions, and matrix products, may use TF32."""
    try:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:  # somebody has set `fp32_precision` to what these two cannot tell
        return True, False


def _allow(convolutions: bool, products: bool) -> None:
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products
