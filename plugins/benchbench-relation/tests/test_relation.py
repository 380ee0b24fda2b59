"""The loss against a plain computation, and the plugin as a user meets it."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchbench.models.outputs import Outputs
from benchbench.testing import checks_of

FILE = Path(__file__).parent.parent / "benchbench_relation.py"
relation = runpy.run_path(str(FILE))["relation"]


def outputs(*shape: int, seed: int) -> Outputs:
    embedding = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    return Outputs(logits=None, embedding=embedding)


def distribution(embedding: np.ndarray, i: int, temperature: float) -> dict[int, float]:
    norms = np.linalg.norm(embedding, axis=1)
    scores = {
        j: np.exp(embedding[i] @ embedding[j] / (norms[i] * norms[j]) / temperature)
        for j in range(len(embedding))
        if j != i
    }
    return {j: score / sum(scores.values()) for j, score in scores.items()}


def test_equals_the_formula():
    student, teacher = outputs(5, 3, seed=0), outputs(5, 7, seed=1)
    value = relation(student, teacher, None, temperature=0.3)
    s, t = (side.embedding.detach().double().numpy() for side in (student, teacher))
    expected = 0.0
    for i in range(5):
        ps, pt = distribution(s, i, 0.3), distribution(t, i, 0.3)
        expected += sum(pt[j] * np.log(pt[j] / ps[j]) for j in pt) / 5
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("check", checks_of(FILE), ids=str)
def test_contract(check):
    finding = check.run()
    assert finding.status != "failed", finding


def test_the_gradient_is_finite():
    student, teacher = outputs(6, 4, seed=0), outputs(6, 9, seed=1)
    relation(student, teacher, None, temperature=0.1).backward()
    assert student.embedding.grad.abs().sum() > 0
    assert torch.isfinite(student.embedding.grad).all()


def test_zero_where_student_equals_teacher():
    same = outputs(4, 4, seed=0)
    assert relation(same, same, None, temperature=0.1).item() == pytest.approx(0, abs=1e-6)


def test_listed_with_its_parameters():
    command = [sys.executable, "-m", "benchbench", "list", "losses", "--plugin", str(FILE), "--json"]
    components = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    mine = next(component for component in components if component["name"] == "relation")
    assert mine["params"]["temperature"]["default"] == 0.1
    assert mine["needs"] == ["teacher"]
