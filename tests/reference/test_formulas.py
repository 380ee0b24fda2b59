"""Formulas on the page of losses, and docstrings without them."""

from __future__ import annotations

import re

import pytest

from benchbench.losses.catalog.formulas import FORMULAS, SYMBOLS
from benchbench.reference.formulas import explained, formula
from benchbench.reference.losses import losses_page

PAGE = losses_page()
ENTRIES = {entry.split("`")[1]: entry for entry in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}


def test_the_page_says_what_symbols_mean_before_the_first_loss():
    assert SYMBOLS in PAGE.partition("\n## ")[0]


@pytest.mark.parametrize("loss", FORMULAS)
def test_the_page_has_each_once(loss):
    blocks = re.findall(r"^```math\n(.*)\n```$", ENTRIES[loss], flags=re.MULTILINE)
    assert blocks == list(FORMULAS[loss])


def test_no_formula_is_there_in_plain_text_too():
    """But for lists of arguments, and for what says which terms there are."""
    lines = [line for line in PAGE.splitlines() if not line.startswith(("- ", "\\", "**Source:**"))]
    assert [line for line in lines if re.search(r"(?<!\\)\bsum_\w", line) and "Terms `" not in line] == []


def test_a_loss_of_a_plugin_has_none_and_keeps_its_text():
    text = "1/B sum_i (s_i - t_i)^2.\n\nMore."
    assert formula("margin_of_a_plugin") == []
    assert explained("margin_of_a_plugin", text) == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("1/(B C) sum_ic (s_ic - t_ic)^2.", "part of the formula above."),
        ("KL divergence.\n\nKD = T^2 / B * sum_i KL(s). The factor\nkeeps.", "KL divergence.\n\nThe factor keeps."),
        ("Term `kd`: 1/B sum_i x_i. It trains.", "Term `kd`. It trains."),
        ("Terms `a`: the sum_T of `b` at T; `c`: more.", "Terms `a`: the sum_T of `b` at T; `c`: more."),
        ("A batch.\n\nSource: A 2020, where 1/B sum_i x.", "A batch.\n\nSource: A 2020, where 1/B sum_i x."),
        ("z = g(h) / ||g(h)||, which trains.", "z = g(h) / ||g(h)||, which trains."),
    ],
)
def test_docstrings_without_formulas(text, rest):
    assert explained("kd", text) == rest
