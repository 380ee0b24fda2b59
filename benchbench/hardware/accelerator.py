"""Differences between the devices that PyTorch computes on, beside CUDA's own."""

from __future__ import annotations

import torch


def widest(device: torch.device) -> torch.dtype:
    """The floating-point type in which sums are kept: float64, which Apple's GPUs do not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def synchronize(device: torch.device) -> None:
    """Waits for all work that a device has been given; a CPU has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
