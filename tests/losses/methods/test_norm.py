from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.methods.norm import NORM, ExpandingHead
from tests.losses.plain import array, pooled


@pytest.mark.parametrize("copies", [1, 3])
def test_value(context, make_step, copies):
    student, teacher, batch = make_step()
    context.student_head = head = NORM.make_head(6, 11, 5, copies=copies)
    expand = array(head.expand.weight)
    f_s, f_t = pooled(array(student.features[-1]), 2), pooled(array(teacher.features[-1]), 2)
    gaps = []
    for copy in range(copies):
        mapped = np.einsum("oc,bchw->bohw", expand[11 * copy : 11 * (copy + 1)], f_s)
        gaps.append(((mapped - f_t) ** 2).mean())
    value = NORM(context, copies=copies)(student, teacher, batch)["norm"].item()
    assert value == pytest.approx(sum(gaps), rel=1e-5)


def test_the_head_is_one_matrix(make_step):
    head = ExpandingHead(6, 11, 5, copies=3).double()
    embedding = torch.randn(4, 6, dtype=torch.float64)
    expand, reduce, weight = (array(part.weight) for part in (head.expand, head.reduce, head.classifier))
    whole = weight @ (np.eye(6) + reduce @ expand)
    np.testing.assert_allclose(array(head(embedding)), array(embedding) @ whole.T + array(head.classifier.bias))


def test_its_gradient_reaches_the_head(context, make_step):
    student, teacher, batch = make_step()
    context.student_head = head = NORM.make_head(6, 11, 5)
    NORM(context)(student, teacher, batch)["norm"].backward()
    assert head.expand.weight.grad.abs().sum() > 0
    assert head.classifier.weight.grad is None


@pytest.mark.parametrize(("side", "maps"), [("student", (4, 2, 2)), ("teacher", (9, 2, 2))])
def test_a_map_that_is_not_pooled_into_the_embedding_is_refused(context, side, maps):
    context.student_head = NORM.make_head(6, 11, 5)
    getattr(context, f"{side}_features")[-1] = maps
    with pytest.raises(StageError, match=f"of this {side} they have {maps[0]} and .* channels; take another {side}"):
        NORM(context)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_an_embedding_that_is_not_the_mean_of_the_last_map_is_refused(context, side):
    context.student_head = NORM.make_head(6, 11, 5)
    setattr(context, f"{side}_pools", False)
    with pytest.raises(StageError, match=f"this {side}'s is not .*; take simkd, or another {side}"):
        NORM(context)


def test_another_head_is_refused(context):
    context.student_head = nn.Linear(6, 5)
    with pytest.raises(StageError, match="to be the one that its `make_head` builds"):
        NORM(context)
