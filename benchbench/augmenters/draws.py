"""Random draws for each image of a batch, and operations on the images that they fall to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

# Images [G, 3, H, W] of one group, and their indices in the batch [G], by which it picks each image's own factor.
Operation = Callable[[Tensor, Tensor], Tensor]


def uniform(count: int, generator: Generator, like: Tensor) -> Tensor:
    """Numbers in 0..1 [count] on the device of `like`, drawn on the CPU in float32: the same ones on every device."""
    return to_device(torch.rand(count, generator=generator), like.device)


def uniforms(number: int, count: int, generator: Generator, like: Tensor) -> tuple[Tensor, ...]:
    """So many draws of `uniform`, one after the other, brought to the device together."""
    return to_device(torch.stack([torch.rand(count, generator=generator) for _ in range(number)]), like.device).unbind()


def to_device(drawn: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the CPU on a device; nothing waits for a GPU, as copies from memory that can be paged would."""
    if device.type != "cuda":
        return drawn.to(device)
    return drawn.pin_memory().to(device, non_blocking=True)


def by_group(images: Tensor, groups: Tensor, operations: Sequence[Operation]) -> Tensor:
    """Each image through its own operation; every operation runs once, on all of its images together.

    Args:
        images: [B, 3, H, W].
        groups: index of each image's operation [B], on the CPU, so that nothing waits for a device.
        operations: functions that keep the shape of their images.
    """
    order = groups.argsort(stable=True)
    sizes = groups.bincount(minlength=len(operations)).tolist()
    indices, inverse = to_device(torch.stack([order, order.argsort()]), images.device)
    parts = zip(images.index_select(0, indices).split(sizes), indices.split(sizes), operations, strict=True)
    done = [operation(part, index) for part, index, operation in parts if len(part)]
    return torch.cat(done).index_select(0, inverse)


def by_choice(images: Tensor, groups: Tensor, operations: Sequence[Operation]) -> Tensor:
    """The same, every operation on all images: the kernels do not depend on the groups, which are on the device."""
    everyone = torch.arange(len(images), device=images.device)
    result = images
    for number, operation in enumerate(operations):
        result = torch.where((groups == number).view(-1, 1, 1, 1), operation(images, everyone), result)
    return result
