"""The results of a test, where nothing that was tested counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.errors import StageError
from benchbench.stages import tested

FOUND, OBJECT, GROUP = [0, 0, 8, 8, 0, 0.9, 1], [0, 0, 8, 8, 0, 0, 2], [0, 0, 8, 8, 0, 0, 3]


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("object", np.array([[FOUND, GROUP], [FOUND, [0] * 7]], np.float32)),
        ("pixel", np.zeros((2, 3, 3), np.int64)),
    ],
)
def test_there_is_no_score_where_nothing_counts(kind, answers):
    with pytest.raises(StageError, match=f"no {kind} of the 2 test images counts, so there is no score"):
        tested.tested_part(answers, np.zeros(2, np.int64), None)


def test_nothing_right_is_a_score_of_zero():
    boxes = np.array([[[20, 20, 28, 28, 0, 0.9, 1], OBJECT]], np.float32)
    assert tested.tested_part(boxes, np.zeros(1, np.int64), None)["test_accuracy"] == 0
