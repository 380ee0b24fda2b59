from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.skd_pairwise import SKDPairwise, affinity_gap
from tests.losses.plain import array, pooled


def nodes_of(image: np.ndarray, patch: int) -> list[np.ndarray]:
    """Means of the squares of an image's map [C, H, W], those at the border cut off."""
    _, height, width = image.shape
    return [
        image[:, i : i + patch, j : j + patch].mean(axis=(1, 2))
        for i in range(0, height, patch)
        for j in range(0, width, patch)
    ]


def reference(student: np.ndarray, teacher: np.ndarray, patch: int) -> float:
    gaps = []
    for images in zip(student, teacher, strict=True):
        s, t = (nodes_of(image, patch) for image in images)
        for i in range(len(s)):
            for j in range(len(s)):
                cosines = [x[i] @ x[j] / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j])) for x in (s, t)]
                gaps.append((cosines[0] - cosines[1]) ** 2)
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_value(patch):
    rng = np.random.default_rng(patch)
    maps = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(2, 6, 3, 5))
    assert affinity_gap(*map(torch.tensor, maps), patch).item() == pytest.approx(reference(*maps, patch), rel=1e-12)


def test_a_rotation_of_the_channels_and_a_scale_do_not_matter():
    f_teacher = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    rotated = 3 * torch.einsum("oc,bchw->bohw", rotation, f_teacher)
    assert affinity_gap(rotated, f_teacher).item() == pytest.approx(0, abs=1e-24)


@pytest.mark.parametrize(("patch", "taken"), [(1, 1), (2, 1), (7, 1)])
def test_term(context, make_step, patch, taken):
    """The smaller map is 2 x 2: of larger squares than one position a single node would be left."""
    student, teacher, batch = make_step()
    terms = SKDPairwise(context, patch=patch)(student, teacher, batch)
    f_student, f_teacher = array(student.features[-1]), pooled(array(teacher.features[-1]), 2)
    assert list(terms) == ["skd_pairwise"]
    assert terms["skd_pairwise"].item() == pytest.approx(reference(f_student, f_teacher, taken), rel=1e-5)


def test_a_zero_vector_has_a_finite_gradient():
    f_student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    affinity_gap(f_student, torch.randn(1, 3, 2, 2)).backward()
    assert f_student.grad.isfinite().all()


def test_a_single_position_is_refused(context):
    context.student_features[-1] = (6, 1, 1)
    with pytest.raises(StageError, match=r"loss 'skd_pairwise' compares parts .* but one position"):
        SKDPairwise(context)
