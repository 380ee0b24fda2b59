"""Measures of generated images by their features: fidelity, diversity, and copies.

Features are rows [N, D] of one network's embeddings. Distances are Euclidean, and taken in blocks, so that ten thousand
images against ten thousand fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 1024
NEIGHBOURS = 5
# A generated image is a copy where it lies this much nearer to a real one than any other real image does.
COPY = 0.5
KID_SUBSETS, KID_SIZE = 50, 1000


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """FID: the squared Fréchet distance of two Gaussians (Heusel et al. 2017).

    With fewer images than features it is biased upwards, and comparable between sets of one size alone.
    """
    a, b = real.double(), generated.double()
    difference = a.mean(0) - b.mean(0)
    covariances = torch.cov(a.T), torch.cov(b.T)
    # The trace of the product's square root, by its eigenvalues.
    roots = torch.linalg.eigvals(covariances[0] @ covariances[1]).sqrt().real.sum()
    return float(difference.square().sum() + covariances[0].trace() + covariances[1].trace() - 2 * roots)


def kernel_distance(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """KID: the squared maximum mean discrepancy of a cubic kernel, unbiased (Bińkowski et al. 2018).

    Returns:
        Mean and standard deviation over subsets.
    """
    random = torch.Generator().manual_seed(0)
    size = min(KID_SIZE, len(real), len(generated))
    distances = []
    for _ in range(KID_SUBSETS):
        a, b = (each[torch.randperm(len(each), generator=random)[:size]].double() for each in (real, generated))
        within = sum((k.sum() - k.trace()) / (size * (size - 1)) for k in (_cubic(a, a), _cubic(b, b)))
        distances.append(float(within - 2 * _cubic(a, b).mean()))
    values = torch.tensor(distances, dtype=torch.float64)
    return float(values.mean()), float(values.std())


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


@dataclass(frozen=True)
class Manifold:
    """Coverage of two sets of images by one another.

    Attributes:
        precision: share of generated images within a real one's neighbourhood (Kynkäänniemi et al. 2019).
        recall: share of real images within a generated one's.
        density: mean number of real neighbourhoods that a generated image lies in, by k (Naeem et al. 2020).
        coverage: share of real images with a generated one in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> Manifold:
    """Precision, recall, density and coverage with neighbourhoods up to the k-th nearest image of the same set."""
    k = min(k, len(real) - 1, len(generated) - 1)
    radius = {"real": _radii(real, k), "generated": _radii(generated, k)}
    inside, hits = torch.zeros(len(generated)), torch.zeros(len(generated), dtype=torch.bool)
    covered, recalled = torch.zeros(len(real), dtype=torch.bool), torch.zeros(len(real), dtype=torch.bool)
    for start in range(0, len(generated), BLOCK):
        part = slice(start, start + BLOCK)
        distances = torch.cdist(real, generated[part])  # [real, block]
        within = distances <= radius["real"][:, None]
        inside[part], hits[part] = within.sum(0).float(), within.any(0)
        covered |= within.any(1)
        recalled |= (distances <= radius["generated"][part][None]).any(1)
    precision, recall, coverage = (float(each.float().mean()) for each in (hits, recalled, covered))
    return Manifold(precision, recall, float(inside.mean() / k), coverage)


def _radii(features: Tensor, k: int) -> Tensor:
    """Distance of each image to its k-th nearest other one."""
    parts = [torch.cdist(features[start : start + BLOCK], features) for start in range(0, len(features), BLOCK)]
    return torch.cat([part.kthvalue(k + 1, dim=1).values for part in parts])  # the nearest is itself


@dataclass(frozen=True)
class Nearest:
    """Generated images against a set of real ones.

    Attributes:
        distances: to the nearest real image [N].
        indices: of that image [N].
        copies: indices of generated images that are copies, most exact first.
    """

    distances: Tensor
    indices: Tensor
    copies: Tensor


def nearest(real: Tensor, generated: Tensor) -> Nearest:
    """The nearest real image of each generated one, and copies: `COPY` times nearer than that one's nearest other."""
    parts = [
        torch.cdist(generated[start : start + BLOCK], real).min(dim=1) for start in range(0, len(generated), BLOCK)
    ]
    distances = torch.cat([part.values for part in parts])
    indices = torch.cat([part.indices for part in parts])
    usual = _radii(real, 1)[indices] if len(real) > 1 else torch.full_like(distances, torch.inf)
    ratio = distances / usual
    copies = (ratio < COPY).nonzero().squeeze(1)
    return Nearest(distances, indices, copies[ratio[copies].argsort(stable=True)])
