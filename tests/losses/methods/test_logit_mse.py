from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.losses.methods.logit_mse import LogitMSE, logit_error


def reference(s: np.ndarray, t: np.ndarray) -> float:
    total = 0.0
    for s_row, t_row in zip(s, t, strict=True):
        for a, b in zip(s_row, t_row, strict=True):
            total += (a - b) ** 2
    return total / (len(s) * len(s[0]))


@pytest.mark.parametrize("size", [1, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    s, t = rng.normal(scale=3, size=(size, 5)), rng.normal(scale=3, size=(size, 5))
    assert logit_error(torch.tensor(s), torch.tensor(t)).item() == pytest.approx(reference(s, t), rel=1e-12)


def test_term(context, make_step):
    student, teacher, batch = make_step()
    terms = LogitMSE(context)(student, teacher, batch)
    sides = [side.logits.detach().double().numpy() for side in (student, teacher)]
    assert list(terms) == ["logit_mse"]
    assert terms["logit_mse"].item() == pytest.approx(reference(*sides), rel=1e-5)
