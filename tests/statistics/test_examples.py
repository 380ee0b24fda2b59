"""McNemar's test on which images are right, and why an image counts once."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from benchbench.statistics.examples import McNemar, mcnemar, unpack


def right(*runs: str) -> np.ndarray:
    """`right("110", "100")`: two runs on three images."""
    return np.array([[letter == "1" for letter in run] for run in runs])


class TestOneRun:
    def test_by_hand(self):
        # Nine images won, two lost: 2 (C(11,0) + C(11,1) + C(11,2)) / 2^11.
        result = mcnemar(right("1" * 9 + "00" + "1100"), right("0" * 9 + "11" + "1100"))
        assert (result.won, result.lost) == (9, 2)
        assert result.p == pytest.approx(2 * (1 + 11 + 55) / 2**11)

    @pytest.mark.parametrize(("won", "lost"), [(0, 1), (3, 3), (6, 0), (4, 11), (40, 60)])
    def test_is_the_binomial_sum(self, won, lost):
        ours = np.array([[True] * won + [False] * lost])
        result = mcnemar(ours, ~ours)
        tail = sum(comb(won + lost, k) for k in range(min(won, lost) + 1)) / 2 ** (won + lost)
        assert result == McNemar(won, lost, pytest.approx(min(1.0, 2 * tail)))

    def test_the_other_way_round(self):
        ours, theirs = np.random.default_rng(0).random((2, 1, 200)) < 0.6
        one, other = mcnemar(ours, theirs), mcnemar(theirs, ours)
        assert (one.won, one.lost, one.p) == (other.lost, other.won, other.p)

    def test_the_same_answers_differ_in_nothing(self):
        ours = right("1010")
        assert mcnemar(ours, ours) == McNemar(0, 0, 1.0)


class TestSeveralRuns:
    def test_an_image_goes_to_the_larger_share(self):
        result = mcnemar(right("1100", "1000", "1010"), right("0110", "0100", "0111"))
        # Image by image 3 against 0, 1 against 3, 1 against 2, 0 against 1.
        assert (result.won, result.lost) == (1, 3)

    def test_shares_and_not_counts_where_the_numbers_of_runs_differ(self):
        result = mcnemar(right("110", "110"), right("100", "100", "110", "000"))
        # 2/2 against 3/4, 2/2 against 1/4, 0 against 0.
        assert (result.won, result.lost) == (2, 0)

    def test_equal_shares_are_nobody_s(self):
        assert mcnemar(right("10", "00", "00"), right("10", "01", "00", "10", "00", "00")) == McNemar(0, 1, 1.0)

    def test_the_same_run_again_is_no_evidence(self):
        ours, theirs = np.random.default_rng(1).random((2, 1, 300)) < 0.6
        assert mcnemar(np.repeat(ours, 5, 0), np.repeat(theirs, 5, 0)) == mcnemar(ours, theirs)

    def test_counting_images_once_keeps_the_error_where_counting_every_run_does_not(self):
        """Two arms that are as good as one another, each right on images of its own, whatever the seed."""
        rng = np.random.default_rng(2)
        once, pooled, draws = 0, 0, 200
        for _ in range(draws):
            own = rng.random((2, 1, 200)) < 0.7  # what an arm can do with an image
            ours, theirs = own ^ (rng.random((2, 5, 200)) < 0.03)  # seeds change few answers
            once += mcnemar(ours, theirs).p <= 0.05
            pooled += mcnemar(ours.reshape(1, -1), theirs.reshape(1, -1)).p <= 0.05
        assert once / draws <= 0.05 + 3 * (0.05 * 0.95 / draws) ** 0.5
        assert pooled / draws > 0.25


def test_too_few_images_to_be_significant():
    # Of n images all may be won: p = 2 / 2^n, which is 0.0625 for five and 0.03125 for six.
    for images in range(12):
        best = min(mcnemar(ours, ~ours).p for won in range(images + 1) for ours in [np.arange(images)[None] < won])
        assert McNemar(images, 0, 1.0).possible(0.05) == (best <= 0.05) == (images >= 6)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_bits_come_back_from_a_record(count):
    correct = np.random.default_rng(count).random(count) < 0.5
    assert np.array_equal(unpack(np.packbits(correct).tobytes().hex(), count), correct)
