"""Common parts of the losses on logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.logits import both_logits, non_target, standardized
from benchbench.losses.methods.ce import CE
from benchbench.losses.methods.ctkd import CTKD
from benchbench.losses.methods.dist import DIST
from benchbench.losses.methods.dkd import DKD
from benchbench.losses.methods.kd import KD
from benchbench.losses.methods.logit_mse import LogitMSE
from benchbench.losses.methods.mlkd import MLKD
from benchbench.losses.methods.nkd import NKD
from benchbench.losses.methods.tf_kd import TfKD
from benchbench.losses.methods.tf_kd_self import TfKDSelf
from benchbench.losses.methods.wsld import WSLD
from benchbench.models.outputs import Outputs

LOSSES = {
    "logit_mse": LogitMSE,
    "kd": KD,
    "dkd": DKD,
    "dist": DIST,
    "nkd": NKD,
    "wsld": WSLD,
    "mlkd": MLKD,
    "ctkd": CTKD,
    "tf_kd_self": TfKDSelf,
}
# The parameters in place of one temperature, of losses that have none or several.
WARM = {"logit_mse": {}, "ctkd": {}, "mlkd": {"temperatures": [1.7, 3.0]}}
UNTOUCHED = {"mlkd": {"batch", "class"}}  # terms that standardisation does not concern


def z_score(row: np.ndarray) -> list[float]:
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row))
    return [(value - mean) / deviation for value in row]


def test_standardized():
    logits = np.random.default_rng(0).normal(scale=3, size=(7, 5)) + 20
    expected = [z_score(row) for row in logits]
    np.testing.assert_allclose(standardized(torch.tensor(logits)), expected, rtol=1e-6)


def test_equal_logits_standardise_to_zero():
    logits = torch.full((2, 5), 3.0, requires_grad=True)
    value = standardized(logits)
    value.sum().backward()
    assert torch.equal(value, torch.zeros(2, 5))
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_standardised_losses_see_no_shift_and_no_scale(name, context, make_step):
    student, teacher, batch = make_step()
    loss = LOSSES[name](context, standardize=True)
    scaled = Outputs(teacher.logits * torch.linspace(0.5, 4, 7)[:, None] + torch.arange(7)[:, None], teacher.embedding)
    expected, values = loss(student, teacher, batch), loss(student, scaled, batch)
    plain = LOSSES[name](context)(student, teacher, batch)
    for term in expected.keys() - UNTOUCHED.get(name, set()):
        assert values[term].item() == pytest.approx(expected[term].item(), rel=1e-4)
        assert abs(plain[term] - expected[term]) > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_standardisation_is_off_by_default_and_comes_before_the_temperature(name, context, make_step):
    student, teacher, batch = make_step()
    by_hand = [
        Outputs(torch.tensor([z_score(row) for row in side.logits.tolist()]), side.embedding)
        for side in (student, teacher)
    ]
    expected = LOSSES[name](context, **WARM.get(name, {"temperature": 1.7}), standardize=False)(*by_hand, batch)
    value = LOSSES[name](context, **WARM.get(name, {"temperature": 1.7}), standardize=True)(student, teacher, batch)
    for term in expected.keys() - UNTOUCHED.get(name, set()):
        assert value[term].item() == pytest.approx(expected[term].item(), rel=1e-4)
    assert LOSSES[name](context).params.standardize is False


def test_non_target():
    logits = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    assert non_target(logits, torch.tensor([0, 3, 1])).tolist() == [[2, 3, 4], [5, 6, 7], [9, 11, 12]]


def test_both_logits_are_standardised_where_that_is_set(make_step):
    student, teacher, _ = make_step()
    assert both_logits(student, teacher) == (student.logits, teacher.logits)
    expected = standardized(student.logits), standardized(teacher.logits)
    assert all(map(torch.equal, both_logits(student, teacher, standardize=True), expected))


@pytest.mark.parametrize("loss", [*LOSSES.values(), CE, TfKD])
def test_a_student_without_a_task_head_is_refused(loss, context, make_step):
    student, teacher, batch = make_step()
    with pytest.raises(StageError, match="reads the task logits of a network that has no task head"):
        loss(context)(Outputs(None, student.embedding), teacher, batch)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1e4, 1e-4, 0])
def test_extreme_logits_stay_finite(name, scale, context, make_step):
    student, teacher, batch = make_step()
    sides = [Outputs((scale * side.logits).detach().requires_grad_(), side.embedding) for side in (student, teacher)]
    terms = LOSSES[name](context)(*sides, batch)
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert sides[0].logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "minimal"),
    [(name, {"non_target"} if name == "nkd" else None) for name in LOSSES],
)
def test_a_student_that_equals_its_teacher_has_no_gradient(name, minimal, context, make_step):
    _, teacher, batch = make_step()
    teacher.logits = 0.2 * teacher.logits.detach()
    student = Outputs(teacher.logits.clone().requires_grad_(), teacher.embedding)
    terms = LOSSES[name](context)(student, teacher, batch)
    sum(value for term, value in terms.items() if minimal is None or term in minimal).backward()
    assert student.logits.grad.abs().max() < 1e-6
    if name not in ("nkd", "wsld"):  # cross-entropies: the soft targets' entropy remains
        assert all(term.item() == pytest.approx(0, abs=1e-6) for term in terms.values())
