from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.losses.methods.ifvd import IFVD, variation_gap
from benchbench.statistics.masks import IGNORED
from benchbench.testing.losses import masks_like
from tests.losses.plain import array, pooled


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def reference(student: np.ndarray, teacher: np.ndarray, masks: np.ndarray) -> float:
    """Masks of the size of the maps."""
    gaps = []
    for f_student, f_teacher, mask in zip(student, teacher, masks, strict=True):
        for i, j in np.ndindex(mask.shape):
            if mask[i, j] != IGNORED:
                own = mask == mask[i, j]
                values = [cosine(x[:, i, j], x[:, own].mean(axis=1)) for x in (f_student, f_teacher)]
                gaps.append((values[0] - values[1]) ** 2)
    return sum(gaps) / len(gaps)


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, size=(2, 3, 4))
    masks[0, 0], masks[1, 2, 1] = IGNORED, IGNORED
    return rng.normal(size=(2, 4, 3, 4)), rng.normal(size=(2, 6, 3, 4)), masks


def test_value(case):
    assert variation_gap(*map(torch.tensor, case), classes=3).item() == pytest.approx(reference(*case), rel=1e-12)


def test_a_position_has_the_class_of_the_pixel_in_its_middle(case):
    *maps, masks = case
    large = np.full((2, 15, 20), IGNORED)
    large[:, 2::5, 2::5] = masks
    value = variation_gap(*map(torch.tensor, (*maps, large)), classes=3)
    assert value.item() == pytest.approx(reference(*case), rel=1e-12)


def test_no_class_no_gradient(case):
    f_student = torch.tensor(case[0], requires_grad=True)
    value = variation_gap(f_student, torch.tensor(case[1]), torch.full((2, 3, 4), IGNORED), classes=3)
    value.backward()
    assert value.item() == 0
    assert torch.equal(f_student.grad, torch.zeros_like(f_student))


def test_term(context, make_step):
    student, teacher, batch = make_step()
    batch.masks = masks_like(7, torch.Generator().manual_seed(3))
    terms = IFVD(context)(student, teacher, batch)
    f_student, f_teacher = array(student.features[-1]), pooled(array(teacher.features[-1]), 2)
    masks = batch.masks.numpy()[:, 2::4, 2::4]  # of 8 x 8 pixels
    assert list(terms) == ["ifvd"]
    assert terms["ifvd"].item() == pytest.approx(reference(f_student, f_teacher, masks), rel=1e-5)
