from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchbench.losses.catalog.logits import MLKDParams
from benchbench.losses.methods.mlkd import MLKD, relation_errors
from benchbench.models.outputs import Outputs

SIDES = tuple[np.ndarray, np.ndarray]


def probabilities(z: np.ndarray, temperature: float) -> list[list[float]]:
    rows = [[math.exp(value / temperature) for value in row] for row in z]
    return [[power / sum(row) for power in row] for row in rows]


def gram(rows: list[list[float]]) -> list[list[float]]:
    return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]


def gap(p: list[list[float]], q: list[list[float]]) -> float:
    return sum((a - b) ** 2 for x, y in zip(gram(p), gram(q), strict=True) for a, b in zip(x, y, strict=True))


def turned(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


def reference(s: np.ndarray, t: np.ndarray, temperatures: list[float]) -> dict[str, float]:
    size, classes = s.shape
    total = {"instance": 0.0, "batch": 0.0, "class": 0.0}
    for temperature in temperatures:
        p, q = probabilities(s, temperature), probabilities(t, temperature)
        kl = sum(b * math.log(b / a) for x, y in zip(p, q, strict=True) for a, b in zip(x, y, strict=True))
        total["instance"] += temperature**2 * kl / size
        total["batch"] += gap(p, q) / size
        total["class"] += gap(turned(p), turned(q)) / classes
    return total


def draw(size: int = 7) -> SIDES:
    rng = np.random.default_rng(size)
    return rng.normal(scale=3, size=(size, 5)), rng.normal(scale=3, size=(size, 5))


def terms_of(loss: MLKD, make_step, s: np.ndarray | torch.Tensor, t: np.ndarray | torch.Tensor) -> dict[str, float]:
    student, teacher, batch = make_step(len(s))
    student.logits, teacher.logits = torch.as_tensor(s), torch.as_tensor(t)
    return {name: value.item() for name, value in loss(student, teacher, batch).items()}


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("temperatures", [[1.0], [2.0, 5.0]])
def test_value(size, temperatures):
    expected = reference(*draw(size), temperatures)
    values = relation_errors(*map(torch.tensor, draw(size)), temperatures)
    assert [value.item() for value in values] == pytest.approx([expected["batch"], expected["class"]], rel=1e-9)


@pytest.mark.parametrize("params", [{}, {"temperatures": [1.5, 3.0]}])
def test_terms(context, make_step, params):
    expected = reference(*draw(), params.get("temperatures", [2.0, 3.0, 4.0, 5.0, 6.0]))
    terms = terms_of(MLKD(context, **params), make_step, *draw())
    assert list(terms) == ["instance", "batch", "class"]
    assert terms == pytest.approx(expected, rel=1e-4)


def test_standardisation_is_of_the_instances_alone(context, make_step):
    s, t = draw()
    plain, standard = (terms_of(MLKD(context, standardize=on), make_step, s, t) for on in (False, True))
    z = [(x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) for x in (s, t)]
    assert standard["instance"] == pytest.approx(reference(*z, [2.0, 3.0, 4.0, 5.0, 6.0])["instance"], rel=1e-4)
    assert (standard["batch"], standard["class"]) == (plain["batch"], plain["class"])


def test_relations_between_samples_do_not_see_which_class_is_which(context, make_step):
    """Permuted classes keep the relations between samples; permuted samples those between classes."""
    _, t = draw()
    loss = MLKD(context)
    other_classes = terms_of(loss, make_step, t[:, [1, 2, 3, 4, 0]], t)
    assert other_classes["batch"] == pytest.approx(0, abs=1e-9)
    assert other_classes["class"] > 0.01
    other_samples = terms_of(loss, make_step, t[[1, 2, 3, 4, 5, 6, 0]], t)
    assert other_samples["class"] == pytest.approx(0, abs=1e-9)
    assert other_samples["batch"] > 0.01
    assert min(other_classes["instance"], other_samples["instance"]) > 1


def test_every_term_reaches_the_student(context, make_step):
    for name in ("instance", "batch", "class"):
        student, teacher, batch = make_step()
        MLKD(context)(student, Outputs(teacher.logits, teacher.embedding), batch)[name].backward()
        assert student.logits.grad.abs().sum() > 0


@pytest.mark.parametrize("bad", [[], [4.0, 0.0], [-1.0], [float("inf")], 4.0])
def test_bad_temperatures_are_refused(bad):
    with pytest.raises(ValidationError, match="temperatures"):
        MLKDParams(temperatures=bad)
