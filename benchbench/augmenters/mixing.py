"""Augmenters that mix each image of a batch with another one, and so its label with the other's.

Their form is `(images, generator, **params) -> (images, partner, share)`: images [B, 3, H, W]; the index in the batch
of the image that each was mixed with [B], int64; each image's own share in the result [B], float32 in 0..1. Partners
are a permutation of the batch. One share is drawn per batch, as in the authors' code of both methods.
"""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Generator, Tensor

from benchbench.augmenters.draws import to_device

Mixed = tuple[Tensor, Tensor, Tensor]


def mixup(images: Tensor, generator: Generator, *, alpha: float, probability: float) -> Mixed:
    """Adds each image to another one: l x_i + (1 - l) x_j, with l drawn from Beta(alpha, alpha).

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412), section 2. It trains CIFAR
    with alpha 1 and finds 0.1 to 0.4 best on ImageNet.
    """
    share, partner = _share(alpha, probability, generator), _partners(images, generator)
    return torch.lerp(images.index_select(0, partner), images, share), partner, _everywhere(share, images)


def cutmix(images: Tensor, generator: Generator, *, alpha: float, probability: float) -> Mixed:
    """Pastes a rectangle of another image into each: 1 - l of the area, with l drawn from Beta(alpha, alpha).

    The rectangle has the image's ratio and is centred on a random pixel; what sticks out is cut off, and the share is
    that of the pixels left.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (arXiv
    1905.04899), section 3.1 and appendix A, with alpha 1; its code mixes all batches of ImageNet and half of CIFAR's.
    """
    height, width = images.shape[-2:]
    side, partner = (1 - _share(alpha, probability, generator)) ** 0.5, _partners(images, generator)
    bounds = []
    for length, centre in zip((height, width), torch.rand(2, generator=generator).tolist(), strict=True):
        middle, half = int(centre * length), int(side * length) // 2
        bounds.append((max(middle - half, 0), min(middle + half, length)))
    (top, bottom), (left, right) = bounds
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[..., top:bottom, left:right].index_select(0, partner)
    pasted = (bottom - top) * (right - left) / (height * width)
    return mixed, partner, _everywhere(1 - pasted, images)


def _share(alpha: float, probability: float, generator: Generator) -> float:
    """Drawn from Beta(alpha, alpha), by the inverse of its distribution function; 1 for a batch that is left alone."""
    draw, chosen = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    return float(betaincinv(alpha, alpha, draw)) if chosen < probability else 1.0


def _partners(images: Tensor, generator: Generator) -> Tensor:
    return to_device(torch.randperm(len(images), generator=generator), images.device)


def _everywhere(share: float, images: Tensor) -> Tensor:
    return torch.full((len(images),), share, device=images.device)
