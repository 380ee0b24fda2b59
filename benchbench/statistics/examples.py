"""Comparison by test example: the images that one arm gets right and the other does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class McNemar:
    """Test images on which two arms differ.

    Attributes:
        won: images that the first gets right more often.
        lost: images that the second gets right more often.
        p: of the two-sided exact test that an image is as likely to be won as lost.
    """

    won: int
    lost: int
    p: float

    def possible(self, alpha: float) -> bool:
        """True if some outcome on so many images would be significant; the smallest p is 2 / 2^(won + lost)."""
        return 2.0 * 0.5 ** (self.won + self.lost) <= alpha


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's test in its exact form, the binomial test on the images that only one of the two gets right.

    With several runs an image counts once: for the arm that gets it right in the larger share of its runs (the sign
    test; with one run each it is McNemar's). Adding up the tables of all runs would count the same images again and
    again as if they were new ones, and take a chance difference on 1,000 images for one on several thousand.

    Args:
        first: booleans [runs, images], whether each run is right on each image.
        second: the same images for the reference; the numbers of runs may differ.
    """
    shares = first.sum(0, dtype=np.int64) * len(second), second.sum(0, dtype=np.int64) * len(first)
    won, lost = int((shares[0] > shares[1]).sum()), int((shares[0] < shares[1]).sum())
    # Both tails are alike, so that this is `stats.binomtest(won, won + lost)` without its search for the other one.
    p = min(1.0, 2.0 * float(stats.binom.cdf(min(won, lost), won + lost, 0.5)))
    return McNemar(won, lost, p)


def unpack(packed: str, count: int) -> np.ndarray:
    """Booleans [count] out of a record's `test_correct`: `numpy.packbits`, as hex."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8), count=count).astype(bool)
