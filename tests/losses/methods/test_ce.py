from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.data.batch import Mix
from benchbench.losses.methods.ce import CE, cross_entropy, mixed_cross_entropy


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


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_mixed_images_it_is_that_with_the_mixed_label(size, smoothing):
    """-sum_c q_c log softmax_c with q = l onehot(y) + (1 - l) onehot(y'), each smoothed; every image has its own l."""
    rng = np.random.default_rng(size)
    logits, labels, others = rng.normal(scale=3, size=(size, 5)), rng.integers(0, 5, size), rng.integers(0, 5, size)
    shares = rng.uniform(size=size).astype(np.float32)
    mix = Mix(torch.tensor(others), torch.tensor(shares))
    value = mixed_cross_entropy(torch.tensor(logits), torch.tensor(labels), mix, smoothing)
    expected = [
        share * reference(row[None], [y], smoothing) + (1 - share) * reference(row[None], [other], smoothing)
        for row, y, other, share in zip(logits, labels, others, shares, strict=True)
    ]
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_class_reads_what_was_mixed_in(context, make_step):
    student, teacher, batch = make_step()
    loss = CE(context, label_smoothing=0.3)
    plain = loss(student, teacher, batch)["ce"]
    others = batch.labels.roll(1)
    for share in (0.0, 0.25, 1.0):
        batch.mix = Mix(others, torch.full((7,), share))
        swapped = cross_entropy(student.logits, others, 0.3)
        expected = share * plain + (1 - share) * swapped
        assert loss(student, teacher, batch)["ce"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_needs_no_teacher(context, make_step):
    student, teacher, batch = make_step()
    loss = CE(context)
    assert torch.equal(loss(student, None, batch)["ce"], loss(student, teacher, batch)["ce"])
