from __future__ import annotations

import numpy as np
import pytest

from benchbench.losses.methods.embedding_mse import EmbeddingMSE


@pytest.mark.parametrize("size", [1, 7])
def test_term(context, make_step, size):
    student, teacher, batch = make_step(size)
    loss = EmbeddingMSE(context)
    terms = loss(student, teacher, batch)

    weight, bias = (parameter.detach().double().numpy() for parameter in loss.connector.parameters())
    h_student, h_teacher = (side.embedding.detach().double().numpy() for side in (student, teacher))
    errors = []
    for source, target in zip(h_student, h_teacher, strict=True):
        for j in range(11):
            connected = sum(weight[j][k] * source[k] for k in range(6)) + bias[j]
            errors.append((connected - target[j]) ** 2)
    assert list(terms) == ["embedding_mse"]
    assert terms["embedding_mse"].item() == pytest.approx(np.mean(errors), rel=1e-5)
