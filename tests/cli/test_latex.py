"""Formulas of the documentation as plain text."""

from __future__ import annotations

import pytest

from benchbench.cli.latex import plain_formula
from benchbench.losses.catalog.formulas import FORMULAS


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{T^2}{B} \sum_i \text{KL}(p_{t,i} \,\|\, p_{s,i})", "T^2/B sum_i KL(p_t,i || p_s,i)"),
        (r"\frac{1}{B C} \sum_{c \ne y_i} x^{2 k}", "1/(B C) sum_(c != y_i) x^(2 k)"),
        (r"\left\lVert G_s - G_t \right\rVert_F^2, \quad a \le b", "||G_s - G_t||_F^2, a <= b"),
        (r"\frac{\langle u, v \rangle}{\sqrt{\bar{\alpha}_t}}", "(<u, v>)/(sqrt(alpha-bar_t))"),
        (r"\left( \frac{(a - \mu)^2}{v} \right)", "(((a - mu)^2)/v)"),
    ],
)
def test_as_docstrings_write_them(latex, text):
    assert plain_formula(latex) == text


@pytest.mark.parametrize("loss", FORMULAS)
def test_nothing_of_latex_is_left(loss):
    for line in FORMULAS[loss]:
        text = plain_formula(line)
        assert not set(text) & set("\\{}"), text
        assert text.count("(") == text.count(")"), text
        assert not any(word in text for word in ("left", "right", "frac", "quad", "Vert", "vert", "mathcal")), text
