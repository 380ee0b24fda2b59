"""The number of epochs that fits into the hours that somebody has."""

from __future__ import annotations

import math
from collections.abc import Callable

SHORTEST, LONGEST = 5, 200
FURTHER = 50  # epochs of the second prediction: time is a line through both


def fitting_epochs(hours_of: Callable[[int], float | None], hours: float) -> int:
    """The most epochs with which a suite ends in time; `SHORTEST` where none does, or nothing is known.

    Args:
        hours_of: predicted hours of the whole suite, by epochs; None where they are not known.
        hours: that there are.
    """
    first, second = hours_of(SHORTEST), hours_of(FURTHER)
    if first is None or second is None or second <= first:
        return SHORTEST
    slope = (second - first) / (FURTHER - SHORTEST)
    epochs = SHORTEST + math.floor((hours - first) / slope)
    return max(SHORTEST, min(LONGEST, epochs))
