"""Random streams that depend on names alone: no state to save, none to restore."""

from __future__ import annotations

import hashlib

import torch


def derive(*parts: int | str) -> int:
    """A 63-bit seed out of these parts. torch's generator of the CPU uses the low 32 bits of a seed."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(seed: int, device: torch.device) -> None:
    """Seeds the global generators of the CPU and of a training device.

    `torch.manual_seed` gives the same numbers, but looks at every backend there is, which takes longer than many a step
    of a small network.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded with `derive(*parts)`, of the CPU or of a GPU, whose numbers are others."""
    return torch.Generator(device).manual_seed(derive(*parts))
