from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.ce import CE, cross_entropy
from benchbench.models.outputs import Outputs


def reference(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for c, value in enumerate(row):
            target = (1 - smoothing) * (c == label) + smoothing / len(row)
            total -= target * (value - log_sum)
    return total / len(logits)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_value(size, smoothing):
    rng = np.random.default_rng(size)
    logits, labels = rng.normal(scale=3, size=(size, 5)), rng.integers(0, 5, size)
    value = cross_entropy(torch.tensor(logits), torch.tensor(labels), smoothing)
    assert value.item() == pytest.approx(reference(logits, labels, smoothing), rel=1e-6)


def test_smoothing_is_a_mixture_with_the_uniform_distribution():
    logits, labels = torch.randn(7, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    plain = cross_entropy(logits, labels)
    uniform = torch.stack([cross_entropy(logits, torch.full((7,), c)) for c in range(5)]).mean()
    assert cross_entropy(logits, labels, 0.3).item() == pytest.approx((0.7 * plain + 0.3 * uniform).item(), rel=1e-5)


def test_there_is_no_smoothing_by_default(context, make_step):
    student, teacher, batch = make_step()
    expected = reference(student.logits.detach().double().numpy(), batch.labels.numpy(), 0.0)
    assert CE(context)(student, teacher, batch)["ce"].item() == pytest.approx(expected, rel=1e-6)


def test_the_class_passes_its_parameter_on(context, make_step):
    student, teacher, batch = make_step()
    terms = CE(context, label_smoothing=0.3)(student, teacher, batch)
    expected = reference(student.logits.detach().double().numpy(), batch.labels.numpy(), 0.3)
    assert list(terms) == ["ce"]
    assert terms["ce"].item() == pytest.approx(expected, rel=1e-6)


def test_needs_no_teacher(context, make_step):
    student, teacher, batch = make_step()
    loss = CE(context)
    assert torch.equal(loss(student, None, batch)["ce"], loss(student, teacher, batch)["ce"])


def test_a_student_without_a_head_is_refused(context, make_step):
    student, teacher, batch = make_step()
    with pytest.raises(StageError, match="'ce' needs the student's logits"):
        CE(context)(Outputs(None, student.embedding), teacher, batch)
