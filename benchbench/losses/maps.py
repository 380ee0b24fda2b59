"""Common parts of the losses on feature maps: pairs of maps, and one size for both."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.models.outputs import Outputs

Pair = tuple[int, int]


def depths(count: int, parts: int) -> list[int]:
    """The last map of each of `parts` equal parts of a network with `count` maps, shallow to deep."""
    return [math.ceil((part + 1) * count / parts) - 1 for part in range(parts)]


def paired(context: LossContext, most: int = 4) -> list[Pair]:
    """The maps of student and teacher that are compared: pairs of indices at equal depth, shallow to deep.

    There are as many pairs as the network with fewer maps has, and no more than `most`. Of four stages and a stem the
    stages are taken; of a transformer's twelve blocks every third.
    """
    counts = len(context.student_features), len(context.teacher_features)
    parts = min(*counts, most)
    return list(zip(depths(counts[0], parts), depths(counts[1], parts), strict=True))


def both_maps(student: Outputs, teacher: Outputs, pairs: list[Pair]) -> list[tuple[Tensor, Tensor]]:
    """The paired maps of student [B, C_s, H_s, W_s] and teacher [B, C_t, H_t, W_t]."""
    return [(student.features[s], teacher.features[t]) for s, t in pairs]


def same_size(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps [B, C, H, W] at the smaller of their sizes, the larger one averaged down to it."""
    size = (min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3]))
    return resized(x, size), resized(y, size)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [B, C, H, W] at another size [B, C, *size]: averaged where it shrinks, nearest neighbour where it grows."""
    if tuple(x.shape[2:]) == size:
        return x
    if x.shape[2] >= size[0] and x.shape[3] >= size[1]:
        return F.adaptive_avg_pool2d(x, size)
    return F.interpolate(x, size, mode="nearest")


def map_reader(loss: str, side: str, head: nn.Module | None, channels: int) -> nn.Linear:
    """The classifier of a network, which a loss applies to every position of its last map.

    Args:
        loss: its name.
        side: "student" or "teacher".
        head: the classifier.
        channels: of the map.

    Raises:
        StageError: it cannot read a map of so many channels.
    """
    if head is None:
        raise StageError(f"loss '{loss}' needs a task head of the {side}; adapt it to the task")
    if not isinstance(head, nn.Linear):
        raise StageError(f"loss '{loss}' needs a linear classifier; take out the loss that gives the {side} another")
    if head.in_features != channels:
        raise StageError(
            f"loss '{loss}' reads the last map through the classifier, and of this {side} the map has {channels} "
            f"channels and the classifier takes {head.in_features}; take another {side}"
        )
    return head


def require_pooled(loss: str, side: str, context: LossContext, instead: str) -> None:
    """Refuses a network whose embedding is not the mean of its last map.

    Args:
        loss: its name.
        side: "student" or "teacher".
        context: of the loss.
        instead: what to take in place of the loss.

    Raises:
        StageError: the embedding is a class token's, say, or normalised after pooling.
    """
    if not (context.student_pools if side == "student" else context.teacher_pools):
        raise StageError(
            f"loss '{loss}' needs an embedding that is the mean of the last map, and this {side}'s is not (it is a "
            f"class token's, or processed after pooling); take {instead}, or another {side}"
        )
