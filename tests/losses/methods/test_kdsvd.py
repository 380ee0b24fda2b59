from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.kdsvd import KDSVD
from tests.losses.plain import array, pooled


def vectors(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors and values of one map's matrix; their signs are LAPACK's on both sides."""
    _, singular, rows = np.linalg.svd(x.reshape(-1, x.shape[2]), full_matrices=False)
    singular = singular[:count]
    return rows[:count].T, singular / math.sqrt((singular**2).sum())


def reference(maps: list[tuple[np.ndarray, np.ndarray]], rank: int) -> float:
    total = 0.0
    for b in range(len(maps[0][0])):
        before = None
        for f_s, f_t in maps:
            size = min(f_s.shape[2], f_t.shape[2])
            s, t = pooled(f_s, size)[b], pooled(f_t, size)[b]
            v_t, weights = vectors(t, rank)
            candidates = vectors(s, rank + 3)[0]
            v_s = np.zeros_like(v_t)
            for k in range(v_t.shape[1]):
                cosines = candidates.T @ v_t[:, k]
                best = int(np.argmax(np.abs(cosines)))
                v_s[:, k] = candidates[:, best] * np.sign(cosines[best])
            both = v_s * weights, v_t * weights
            if before is not None:
                for k in range(v_t.shape[1]):
                    for w in range(size):
                        for x in range(len(before[0])):
                            gaps = [
                                math.exp(-((v[w, k] - u[x, k]) ** 2) / 8) for v, u in zip(both, before, strict=True)
                            ]
                            total += (gaps[0] - gaps[1]) ** 2
            before = both
    return total / len(maps[0][0])


@pytest.mark.parametrize("rank", [1, 2])
def test_value(context, make_step, rank):
    student, teacher, batch = make_step(dtype=torch.float64)
    loss = KDSVD(context, rank=rank)
    maps = [(array(student.features[s]), array(teacher.features[t])) for s, t in loss.pairs]
    value = loss(student, teacher, batch)["kdsvd"].item()
    assert value == pytest.approx(reference(maps, rank), rel=1e-6)


def test_the_same_maps_have_no_gap(context, make_step):
    student, teacher, batch = make_step()
    context.teacher_features = list(context.student_features)
    teacher.features = [value.detach().clone() for value in student.features]
    assert KDSVD(context, rank=2)(student, teacher, batch)["kdsvd"].item() == pytest.approx(0, abs=1e-12)


def test_a_dead_map_has_a_finite_gradient(context, make_step):
    student, teacher, batch = make_step()
    student.features = [torch.zeros_like(value).requires_grad_() for value in student.features]
    KDSVD(context)(student, teacher, batch)["kdsvd"].backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in student.features)


def test_maps_of_one_column_are_refused(context):
    context.student_features = [(3, 4, 4), (4, 1, 1), (6, 1, 1)]
    with pytest.raises(StageError, match="fewer than two pairs of maps with two columns or more; take larger images"):
        KDSVD(context)


@pytest.mark.parametrize("channels", [4, 1])
def test_a_rank_that_a_map_has_no_room_for_is_refused(context, channels):
    """Maps are compared at 8x8, 4x4 and 2x6: of one channel, the last has two rows."""
    context.student_features = [(3, 8, 8), (4, 4, 4), (6, 2, 6)]
    context.teacher_features = [(4, 8, 8), (8, 4, 4), (channels, 3, 6)]
    largest = 4 if channels == 4 else 2
    assert KDSVD(context, rank=largest).params.rank == largest
    message = f"takes {largest + 1} singular vectors of each map, .* smallest has {largest}; set `rank` to {largest} or"
    with pytest.raises(StageError, match=message):
        KDSVD(context, rank=largest + 1)


def test_the_largest_rank_is_computed(context, make_step):
    """Of the student's maps as few singular vectors may be there as there are."""
    student, teacher, batch = make_step()
    context.student_features[-1], context.teacher_features[-1] = (1, 2, 4), (11, 2, 4)
    student.features[-1], teacher.features[-1] = torch.randn(7, 1, 2, 4).requires_grad_(), torch.randn(7, 11, 2, 4)
    value = KDSVD(context, rank=4)(student, teacher, batch)["kdsvd"]
    value.backward()
    assert value.isfinite()
    assert student.features[-1].grad.isfinite().all()
