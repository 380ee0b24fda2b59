"""Mixtures: what is in them, and what they say is in them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from benchbench.augmenters.mixing import cutmix, mixup

MIXERS = {"mixup": mixup, "cutmix": cutmix}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=seeded(99))


@pytest.mark.parametrize("shape", [(6, 7), (9, 4), (1, 1)])
def test_mixup_is_the_weighted_sum(shape):
    images = noise(8, *shape)
    for seed in range(20):
        mixed, partner, share = mixup(images, seeded(seed), alpha=1.0, probability=1.0)
        weight = share.view(-1, 1, 1, 1)
        assert torch.allclose(mixed, weight * images + (1 - weight) * images[partner], atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 7), (9, 4), (1, 1), (32, 32)])
def test_cutmix_pastes_one_rectangle_of_the_partner(shape):
    images = noise(8, *shape)
    for seed in range(40):
        mixed, partner, share = cutmix(images, seeded(seed), alpha=1.0, probability=1.0)
        own, pasted = (mixed == images).all(1), (mixed == images[partner]).all(1)
        assert (own | pasted).all()
        moved = partner != torch.arange(8)
        assert (own[moved].double().mean((1, 2)) - share[moved]).abs().max() < 1e-6
        patch = (~own[moved]).unique(dim=0)
        assert len(patch) == 1  # the same one in the whole batch
        rows, columns = patch[0].any(1).nonzero(), patch[0].any(0).nonzero()
        if len(rows):
            assert patch[0].sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)


def drawn(seed: int) -> float:
    """The share before a rectangle is rounded and cut off: both methods draw it first."""
    return mixup(torch.zeros(1, 3, 1, 1), seeded(seed), alpha=1.0, probability=1.0)[2].item()


def test_a_rectangle_has_the_image_s_ratio_and_any_pixel_as_its_middle():
    """Its sides are sqrt(1 - l) of the image's, in twice as many whole pixels as fit into a half; the rest is cut."""
    sides = (20, 40)
    images = torch.zeros(2, 3, *sides)
    images[1] = 1
    begun: tuple[set[int], set[int]] = (set(), set())
    for seed in range(1000):
        mixed, partner, share = cutmix(images, seeded(seed), alpha=1.0, probability=1.0)
        if partner[0] == 0 or share[0] == 1:
            continue
        for axis, length in enumerate(sides):
            pasted = mixed[0, 0].any(1 - axis).nonzero().flatten()
            half = int((1 - drawn(seed)) ** 0.5 * length) // 2
            possible = [(max(middle - half, 0), min(middle + half, length)) for middle in range(length)]
            assert (pasted[0].item(), pasted[-1].item() + 1) in possible
            begun[axis].add(pasted[0].item())
    assert begun[0] >= set(range(14))
    assert begun[1] >= set(range(28))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_beta_distributed(alpha):
    images = torch.zeros(1, 3, 1, 1)
    shares = [mixup(images, seeded(seed), alpha=alpha, probability=1.0)[2].item() for seed in range(2000)]
    assert scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("name", MIXERS)
class TestBoth:
    @pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
    def test_as_many_batches_are_mixed_as_the_probability_says(self, name, probability):
        images = noise(3, 32, 35)
        mixed = []
        for seed in range(500):
            out, partner, share = MIXERS[name](images, seeded(seed), alpha=1.0, probability=probability)
            mixed.append(bool((share < 1).any()))
            if not mixed[-1]:
                assert torch.equal(out, images)
                assert sorted(partner.tolist()) == [0, 1, 2]
        # A rectangle of less than two pixels a side is none.
        assert np.mean(mixed) == pytest.approx(probability, abs=0.07 if probability else 0)

    def test_partners_are_permutations_of_the_batch(self, name):
        images = noise(5, 3, 3)
        results = [MIXERS[name](images, seeded(seed), alpha=1.0, probability=1.0)[1].tolist() for seed in range(100)]
        assert all(sorted(partner) == list(range(5)) for partner in results)
        assert {partner[0] for partner in results} == set(range(5))

    def test_a_batch_of_one_is_mixed_with_itself(self, name):
        image = noise(1, 7, 5)
        mixed, partner, share = MIXERS[name](image, seeded(), alpha=1.0, probability=1.0)
        assert torch.allclose(mixed, image, atol=1e-6)
        assert partner.tolist() == [0]
        assert 0 <= share.item() <= 1

    def test_the_generator_decides(self, name):
        images = noise(16, 8, 8)
        before = images.clone()
        torch.manual_seed(1)
        first = MIXERS[name](images, seeded(4), alpha=1.0, probability=1.0)
        torch.manual_seed(2)
        again = MIXERS[name](images, seeded(4), alpha=1.0, probability=1.0)
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
        other = MIXERS[name](images, seeded(5), alpha=1.0, probability=1.0)
        assert not torch.equal(first[0], other[0])
        assert torch.equal(images, before)

    @pytest.mark.parametrize("alpha", [1e-3, 1.0, 1000.0])
    def test_results_stay_what_they_are(self, name, alpha):
        for images in (noise(6, 7, 9), torch.zeros(4, 3, 8, 8), torch.ones(4, 3, 8, 8)):
            for seed in range(5):
                mixed, partner, share = MIXERS[name](images, seeded(seed), alpha=alpha, probability=1.0)
                assert mixed.shape == images.shape
                assert (mixed.dtype, partner.dtype, share.dtype) == (torch.float32, torch.int64, torch.float32)
                assert mixed.min() >= 0
                assert mixed.max() <= 1
                assert share.min() >= 0
                assert share.max() <= 1

    def test_it_works_where_the_images_are(self, name):
        """On a device that holds no numbers, anything that stays behind or waits for one is an error."""
        results = MIXERS[name](torch.empty(6, 3, 8, 9, device="meta"), seeded(), alpha=1.0, probability=1.0)
        assert {each.device.type for each in results} == {"meta"}
