"""The augmentation of differentiable Siamese augmentation, piece by piece."""

import numpy as np
import pytest
import torch

from benchbench.augmenters import DsaParams
from benchbench.augmenters.dsa import dsa


def augmented(images: torch.Tensor, **params) -> torch.Tensor:
    given = DsaParams(**params).model_dump()
    return dsa(images, images.shape[-1], torch.Generator().manual_seed(0), **given)


@pytest.mark.parametrize("shape", [(33, 33), (33, 65), (65, 33)])
def test_a_rotation_keeps_angles_and_distances(shape):
    """Of two dots at equal distances from the middle, one beside and one above it."""
    row, column = (side // 2 for side in shape)
    images = torch.zeros(200, 3, *shape)
    images[:, 0, row - 12 : row - 9, column - 1 : column + 2] = 1
    images[:, 1, row - 1 : row + 2, column + 10 : column + 13] = 1
    turned = augmented(images, strategies=["rotate"], rotate=30).double()
    grid = torch.stack(torch.meshgrid(torch.arange(shape[0]) - row, torch.arange(shape[1]) - column, indexing="ij"))
    mass = turned[:, :2].sum((2, 3))
    dots = torch.einsum("bchw,khw->bck", turned[:, :2], grid.double()) / mass[..., None]
    assert torch.allclose(dots.norm(dim=-1), torch.tensor(11.0).double(), atol=0.2)
    assert (dots[:, 0] * dots[:, 1]).sum(-1).abs().max() < 4  # of 121: at right angles
    angles = torch.rad2deg(torch.atan2(dots[:, 0, 1], -dots[:, 0, 0]))
    assert 25 < angles.abs().max() < 31
    assert angles.min() < -20 < 20 < angles.max()


@pytest.mark.parametrize(("side", "most"), [(8, 1), (28, 4), (32, 4)])
def test_a_crop_moves_by_whole_pixels_all_alike(side, most):
    images = torch.zeros(4000, 3, side, side)
    images[:, :, side // 2, side // 2] = 1
    found = augmented(images, strategies=["crop"])[:, 0].flatten(1)
    assert torch.allclose(found.max(1).values, torch.tensor(1.0), atol=1e-4)
    moves = torch.stack([found.argmax(1) // side, found.argmax(1) % side]).numpy() - side // 2
    for each in moves:
        values, counts = np.unique(each, return_counts=True)
        assert values.tolist() == list(range(-most, most + 1))
        expected = 4000 / len(values)
        assert np.abs(counts - expected).max() < 5 * expected**0.5


def test_single_is_one_strategy_an_image_and_multiple_all():
    images = torch.full((300, 3, 16, 16), 0.5)
    strategies = ["color", "cutout"]
    single = augmented(images, strategies=strategies)
    is_cut = (single == 0).all(1).flatten(1).any(1)
    is_moved = ((single - 0.5).abs() > 1e-6).flatten(1).all(1)
    assert not (is_cut & is_moved).any()
    assert 100 < is_cut.sum() < 200
    multiple = augmented(images, strategies=strategies, mode="multiple")
    assert (multiple == 0).all(1).flatten(1).any(1).all()


def test_brightness_moves_by_half_of_it_at_most():
    values = augmented(torch.full((1000, 3, 4, 4), 0.5), strategies=["color"])[:, 0, 0, 0]
    assert 0.37 < values.min() < 0.385
    assert 0.615 < values.max() < 0.63
