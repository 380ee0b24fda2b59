from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.losses.methods.dist import DIST, relation_gap


def softmax(z: np.ndarray, tau: float) -> np.ndarray:
    powers = np.exp(z / tau)
    return np.array([row / sum(row) for row in powers])


def reference(x: np.ndarray, y: np.ndarray) -> float:
    """NumPy's own correlation coefficient, row by row."""
    return float(np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]))


@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (5, 2)])
def test_value(shape):
    rng = np.random.default_rng(shape[0])
    x, y = rng.normal(size=shape), rng.normal(size=shape)
    assert relation_gap(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(reference(x, y), rel=1e-6, abs=1e-7)


def test_shift_and_scale_do_not_count():
    x = torch.randn(4, 6, dtype=torch.float64)
    assert relation_gap(x, 3 * x - 7).item() == pytest.approx(0, abs=1e-7)
    assert relation_gap(x, -x).item() == pytest.approx(2, abs=1e-7)


def test_rows_without_spread_are_uncorrelated_and_pass_no_gradient():
    x = torch.full((2, 4), 0.25, requires_grad=True)
    value = relation_gap(x, torch.rand(2, 4))
    value.backward()
    assert value == 1
    assert x.grad.isfinite().all()
    constant = torch.full((2, 4), 0.25)
    y = torch.rand(2, 4, requires_grad=True)
    relation_gap(y, constant).backward()
    assert torch.equal(y.grad, torch.zeros(2, 4))


@pytest.mark.parametrize(("beta", "gamma", "tau"), [(1.0, 1.0, 1.0), (2.0, 0.5, 3.0)])
def test_terms(context, make_step, beta, gamma, tau):
    student, teacher, batch = make_step()
    s, t = (softmax(0.5 * side.logits.detach().double().numpy(), tau) for side in (student, teacher))
    for side in (student, teacher):
        side.logits = 0.5 * side.logits.detach()
    terms = DIST(context, beta=beta, gamma=gamma, temperature=tau)(student, teacher, batch)
    assert list(terms) == ["inter", "intra"]
    assert terms["inter"].item() == pytest.approx(beta * tau**2 * reference(s, t), rel=1e-4)
    assert terms["intra"].item() == pytest.approx(gamma * tau**2 * reference(s.T, t.T), rel=1e-4)


def test_a_batch_of_one_has_no_intra_class_relation(context, make_step):
    student, teacher, batch = make_step(1)
    terms = DIST(context)(student, teacher, batch)
    assert terms["intra"] == 0
    assert terms["inter"] > 0


def test_defaults(context):
    assert DIST(context).params.model_dump() == {"temperature": 1, "beta": 1, "gamma": 1, "standardize": False}
