"""The bootstrap over images against its definition, image by image."""

import numpy as np
import pytest

from benchbench.statistics.bootstrap import RESAMPLES, SEED, ImageBootstrap, ious_of, paired
from benchbench.statistics.segmentation import mean_iou

IMAGES, CLASSES = 12, 3


@pytest.fixture
def arms():
    random = np.random.default_rng(1)
    first, second = (
        random.integers(0, 20, (2, IMAGES, CLASSES, CLASSES)),
        random.integers(0, 20, (3, IMAGES, CLASSES, CLASSES)),
    )
    first[..., range(CLASSES), range(CLASSES)] += 30
    return first, second


def of_arms(first: np.ndarray, second: np.ndarray, level: float) -> ImageBootstrap:
    return paired(ious_of(first), ious_of(second), first.shape[1], level)


def score(runs: np.ndarray, chosen: np.ndarray) -> float:
    return float(np.mean([mean_iou(run[chosen].sum(0)) for run in runs]))


def test_it_is_the_spread_over_draws_of_images(arms):
    first, second = arms
    result = of_arms(first, second, 0.9)
    everything = np.arange(IMAGES)
    assert result.difference == pytest.approx(score(first, everything) - score(second, everything))
    random = np.random.default_rng(SEED)
    draws = [random.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=200) for _ in range(RESAMPLES // 200)]
    chosen = [np.repeat(everything, counts) for counts in np.concatenate(draws)]
    values = [score(first, each) - score(second, each) for each in chosen]
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))
    assert result.p == pytest.approx(2 / (RESAMPLES + 1))  # no draw has the second ahead


def test_an_arm_against_itself_is_no_difference(arms):
    result = of_arms(arms[0], arms[0], 0.95)
    assert (result.difference, result.low, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.filterwarnings("error")
def test_a_draw_of_images_without_a_pixel_that_counts_is_no_difference(arms):
    first, second = (runs[:, :3].copy() for runs in arms)
    first[:, 1:], second[:, 1:] = 0, 0
    result = of_arms(first, second, 0.9)  # of 27 draws 8 are without the first image
    assert (result.low, result.high) == pytest.approx((0, result.difference))
    assert result.difference > 0
    assert 0.5 < result.p < 0.7
