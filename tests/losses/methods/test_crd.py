from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.crd import CRD, draw_negatives, nce_loss
from tests.losses.plain import unit

EPS = 1e-7


def nce_reference(scores: np.ndarray, z: float, samples: int) -> float:
    """The formula as it is written, with exponentials."""
    m = scores.shape[1] - 1
    noise = m * (1 / samples)
    total = 0.0
    for row in scores:
        p = [math.exp(score) / z for score in row]
        total += math.log(p[0] / (p[0] + noise + EPS))
        for negative in p[1:]:
            total += math.log(noise / (negative + noise + EPS))
    return -total / len(scores)


def dot(u: np.ndarray, v: np.ndarray) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True))


def drawn(loss: CRD, labels: torch.Tensor, seed: int) -> np.ndarray:
    """The negatives that `loss` draws for these anchors when the generator starts at `seed`."""
    torch.manual_seed(seed)
    return draw_negatives(labels, loss.order, loss.start, loss.count, loss.params.negatives).numpy()


@pytest.mark.parametrize(("size", "m", "samples"), [(1, 1, 3), (7, 5, 23), (3, 64, 50_000), (3, 4096, 50_000)])
def test_nce_loss(size, m, samples):
    rng = np.random.default_rng(m)
    scores = rng.uniform(-1, 1, (size, 1 + m)) / 0.07
    z = math.exp(5.0) * samples
    value = nce_loss(torch.tensor(scores), torch.tensor(math.log(z), dtype=torch.float64), samples)
    assert value.item() == pytest.approx(nce_reference(scores, z, samples), rel=1e-9)


def test_terms_over_two_steps(context, make_step):
    """Both terms, Z and both banks against NumPy: the first step sets Z and moves the banks, the second uses them."""
    momentum, temperature = 0.3, 0.2
    loss = CRD(context, negatives=9, temperature=temperature, momentum=momentum, dim=4)
    samples = len(context.labels)
    student_bank, teacher_bank = loss.student_bank.double().numpy(), loss.teacher_bank.double().numpy()
    z: dict[str, float] = {}
    for step in range(2):
        student, teacher, batch = make_step(7, seed=step)
        v_student = unit(loss.student_projector(student.embedding).detach().double().numpy())
        v_teacher = unit(loss.teacher_projector(teacher.embedding).detach().double().numpy())
        index = np.concatenate([batch.index.numpy()[:, None], drawn(loss, batch.labels, seed=40 + step)], axis=1)
        torch.manual_seed(40 + step)
        terms = loss(student, teacher, batch)

        sides = {"crd_student": (v_student, teacher_bank), "crd_teacher": (v_teacher, student_bank)}
        assert set(terms) == set(sides)
        for name, (anchors, bank) in sides.items():
            rows = zip(anchors, index, strict=True)
            scores = np.array([[dot(anchor, bank[k]) / temperature for k in row] for anchor, row in rows])
            z.setdefault(name, samples * sum(math.exp(score) for score in scores.ravel()) / scores.size)
            assert terms[name].item() == pytest.approx(nce_reference(scores, z[name], samples), rel=1e-5)

        for bank, anchors, buffer in (
            (student_bank, v_student, loss.student_bank),
            (teacher_bank, v_teacher, loss.teacher_bank),
        ):
            for i, anchor in zip(batch.index.numpy(), anchors, strict=True):
                bank[i] = unit([momentum * bank[i] + (1 - momentum) * anchor])[0]
            np.testing.assert_allclose(buffer, bank, atol=1e-6)
    assert loss.student_log_z.item() == pytest.approx(math.log(z["crd_student"]), rel=1e-5)
    assert loss.teacher_log_z.item() == pytest.approx(math.log(z["crd_teacher"]), rel=1e-5)


def test_only_the_batch_s_rows_move_and_they_have_unit_length(context, make_step):
    loss = CRD(context, negatives=50, dim=4)
    student, teacher, batch = make_step(7)
    for bank in (loss.student_bank, loss.teacher_bank):
        assert (bank.norm(dim=1) - 1).abs().max() > 0.01  # as they are drawn, rows have unit length on average only
    before = {name: value.clone() for name, value in loss.named_buffers()}
    loss(student, teacher, batch)
    others = torch.tensor([i for i in range(len(context.labels)) if i not in batch.index.tolist()])
    for name in ("student_bank", "teacher_bank"):
        bank = getattr(loss, name)
        assert torch.equal(bank[others], before[name][others])
        assert (bank[batch.index] != before[name][batch.index]).any(dim=1).all()
        torch.testing.assert_close(bank[batch.index].norm(dim=1), torch.ones(7))
        assert not bank.requires_grad


def test_banks_start_uniform(context):
    context.labels = torch.arange(2000) % 5
    for name in ("student_bank", "teacher_bank"):
        bank = getattr(CRD(context, dim=12), name)
        assert bank.shape == (2000, 12)
        assert 0.499 < bank.max() <= 0.5  # 1 / sqrt(12 / 3)
        assert -0.5 <= bank.min() < -0.499
        assert abs(bank.mean()) < 0.01
        assert bank.square().sum(dim=1).mean() == pytest.approx(1, abs=0.02)


def test_negatives_are_uniform_over_the_samples_of_other_classes(context):
    loss = CRD(context, negatives=4000, dim=4)
    labels = context.labels.numpy()
    for anchor_class, row in enumerate(drawn(loss, torch.arange(5), seed=1)):
        counts = np.bincount(row, minlength=len(labels))
        assert (counts[labels == anchor_class] == 0).all()
        others = counts[labels != anchor_class]
        expected = 4000 / len(others)
        assert (np.abs(others - expected) < 5 * math.sqrt(expected)).all()


def test_anchors_draw_independently(context):
    loss = CRD(context, negatives=30, dim=4)
    first, second = drawn(loss, torch.tensor([2, 2]), seed=1)
    assert (first != second).any()
    assert (drawn(loss, torch.tensor([2, 2]), seed=2)[0] != first).any()


def test_classes_without_samples_do_no_harm(context):
    context.classes = 8
    context.labels = torch.tensor([6, 2, 6, 2, 2])
    loss = CRD(context, negatives=200, dim=4)
    of_two, of_six = drawn(loss, torch.tensor([2, 6]), seed=0)
    assert set(of_two) == {0, 2}
    assert set(of_six) == {1, 3, 4}


def test_one_class_is_refused(context):
    context.labels = torch.full((9,), 3)
    with pytest.raises(StageError, match="all training samples are of one class"):
        CRD(context)


def test_the_student_s_gradient_comes_from_its_own_anchors(context, make_step):
    loss = CRD(context, negatives=20)
    student, teacher, batch = make_step()
    terms = loss(student, teacher, batch)
    terms["crd_teacher"].backward()
    assert student.embedding.grad is None
    assert all(p.grad.abs().sum() > 0 for p in loss.teacher_projector.parameters())
    terms["crd_student"].backward()
    assert student.embedding.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in loss.student_projector.parameters())


def test_scores_that_overflow_an_exponential_stay_finite(context, make_step):
    loss = CRD(context, negatives=20, temperature=0.005)
    for seed in range(3):
        student, teacher, batch = make_step(seed=seed)
        terms = loss(student, teacher, batch)
        sum(terms.values()).backward()
        assert all(term.isfinite() for term in terms.values())
        assert student.embedding.grad.isfinite().all()


def test_defaults(context):
    loss = CRD(context)
    assert loss.params.model_dump() == {
        "negatives": 4096,
        "temperature": 0.07,
        "momentum": 0.5,
        "dim": 128,
        "projector": "linear",
    }
    assert [tuple(p.shape) for p in loss.parameters()] == [(128, 6), (128,), (128, 11), (128,)]
