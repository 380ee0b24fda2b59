from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.losses.methods.tf_kd_self import TfKDSelf
from tests.losses.plain import softmax


def reference(s: np.ndarray, t: np.ndarray, temperature: float) -> float:
    total = 0.0
    for s_row, t_row in zip(s, t, strict=True):
        for p, q in zip(softmax(t_row, temperature), softmax(s_row, temperature), strict=True):
            total += p * math.log(p / q)
    return temperature**2 * total / len(s)


@pytest.mark.parametrize(("params", "temperature"), [({}, 20.0), ({"temperature": 6}, 6.0)])
def test_term(context, make_step, params, temperature):
    student, teacher, batch = make_step()
    sides = [side.logits.detach().double().numpy() for side in (student, teacher)]
    terms = TfKDSelf(context, **params)(student, teacher, batch)
    assert list(terms) == ["tf_kd_self"]
    assert terms["tf_kd_self"].item() == pytest.approx(reference(*sides, temperature), rel=1e-3)
