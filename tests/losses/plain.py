"""Plain computations in NumPy that the references of several losses are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

# Parameters that the weighted sum reads, and none of the losses that have them.
DENSE = frozenset({"dense", "positions"})


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def softmax(values: np.ndarray | Sequence[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in np.ravel(values)]
    return [power / sum(powers) for power in powers]


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return np.array([row / math.sqrt(sum(row * row)) for row in rows])


def pooled(x: np.ndarray, size: int) -> np.ndarray:
    """Means over the bins of adaptive pooling, which overlap where the sizes do not divide: [B, C, size, size]."""
    side = x.shape[2]
    bins = [slice(i * side // size, math.ceil((i + 1) * side / size)) for i in range(size)]
    return np.stack([np.stack([x[:, :, i, j].mean(axis=(2, 3)) for j in bins], axis=2) for i in bins], axis=2)


def resized(x: np.ndarray, size: int) -> np.ndarray:
    """Means as of `pooled`, or nearest neighbours where the map grows: [B, C, size, size]."""
    if size <= x.shape[2]:
        return pooled(x, size)
    nearest = [i * x.shape[2] // size for i in range(size)]
    return x[:, :, nearest][:, :, :, nearest]


def conv(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A convolution that keeps the map's size, without bias."""
    side = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    out = np.zeros((len(x), len(weight), *x.shape[2:]))
    for i in range(side):
        for j in range(side):
            shifted = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
            out += np.einsum("oc,bchw->bohw", weight[:, :, i, j], shifted)
    return out


def normed(x: np.ndarray) -> np.ndarray:
    """Batch normalisation of maps by their own statistics, without scale and shift."""
    return (x - x.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-5)


def connected(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A 1x1 convolution [out, in] and batch normalisation."""
    return normed(np.einsum("oc,bchw->bohw", weight, x))
