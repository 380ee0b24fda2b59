"""Measures of generated images, against other people's code and against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.synthesis import quality
from benchbench.synthesis.quality import frechet_distance, kernel_distance, manifold, nearest


def features(count: int, seed: int, shift: float = 0.0, width: int = 8) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


REAL, MADE = features(60, 0), features(50, 1, 0.3)


class Given(nn.Module):
    """Features that come as images, for torchmetrics."""

    num_features = 8

    def forward(self, images):
        return images.flatten(1)


def test_fid_is_that_of_torchmetrics():
    # Not above: every worker of pytest would import it, and with it transformers.
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=Given(), normalize=True, input_img_size=(1, 1, 8)).set_dtype(
        torch.float64
    )
    for rows, real in ((REAL, True), (MADE, False)):
        metric.update(rows.double().view(len(rows), 1, 1, 8), real=real)
    assert frechet_distance(REAL, MADE) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_fid_of_gaussians_is_known():
    """Of two with unit covariance it is the squared distance of the means."""
    real, generated = features(40_000, 0), features(40_000, 1, shift=1.0)
    assert frechet_distance(real, generated) == pytest.approx(8.0, rel=0.02)
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-6)


def test_kid_is_that_of_torchmetrics(monkeypatch):
    from torchmetrics.image.kid import KernelInceptionDistance

    metric = KernelInceptionDistance(feature=Given(), subsets=400, subset_size=40, normalize=True)
    for rows, real in ((REAL, True), (MADE, False)):
        metric.update(rows.view(len(rows), 1, 1, 8), real=real)
    torch.manual_seed(0)
    mean, spread = (float(each) for each in metric.compute())
    monkeypatch.setattr(quality, "KID_SIZE", 40)
    monkeypatch.setattr(quality, "KID_SUBSETS", 400)
    ours, deviation = kernel_distance(REAL, MADE)
    assert ours == pytest.approx(mean, abs=4 * spread / 400**0.5)
    assert deviation == pytest.approx(spread, rel=0.2)
    assert kernel_distance(REAL, MADE) == (ours, deviation)


def test_kid_of_everything_by_hand():
    a, b = REAL[:50].double().numpy(), MADE.double().numpy()

    def kernel(x, y):
        return (x @ y.T / 8 + 1) ** 3

    within = sum((kernel(x, x).sum() - np.trace(kernel(x, x))) / (50 * 49) for x in (a, b))
    mean, spread = kernel_distance(REAL[:50], MADE)
    assert mean == pytest.approx(within - 2 * kernel(a, b).mean())
    assert spread == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("block", [7, 1024])
def test_manifolds_by_loops(block, monkeypatch):
    monkeypatch.setattr(quality, "BLOCK", block)
    real, generated, k = REAL.numpy(), MADE.numpy(), 3

    def distance(x, y):
        return np.linalg.norm(x[:, None] - y[None], axis=2)

    radius = [np.sort(distance(x, x), axis=1)[:, k] for x in (real, generated)]
    across = distance(real, generated)
    measures = manifold(REAL, MADE, k)
    assert measures.precision == pytest.approx((across <= radius[0][:, None]).any(0).mean())
    assert measures.recall == pytest.approx((across <= radius[1][None]).any(1).mean())
    assert measures.density == pytest.approx((across <= radius[0][:, None]).sum() / (k * len(generated)))
    assert measures.coverage == pytest.approx((across <= radius[0][:, None]).any(1).mean())


def test_equal_sets_cover_one_another():
    measures = manifold(REAL, REAL.clone())
    assert (measures.precision, measures.recall, measures.coverage) == (1, 1, 1)
    assert measures.density > 1
    far = manifold(REAL, MADE + 100)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_copies_are_found_and_others_are_not():
    generated = torch.cat([features(20, 5), REAL[[7, 3]] + 0.01, REAL[[11]]])
    measures = nearest(REAL, generated)
    assert measures.indices[20:].tolist() == [7, 3, 11]
    assert measures.copies[0] == 22  # the exact one first
    assert {20, 21, 22} <= set(measures.copies.tolist())
    assert torch.allclose(measures.distances, torch.cdist(generated, REAL).min(1).values)
    assert len(nearest(REAL, features(200, 9)).copies) <= 4
