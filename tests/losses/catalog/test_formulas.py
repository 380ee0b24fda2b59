"""The formulas of losses: one for each, in LaTeX that the site and a code host can draw."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from benchbench.losses.catalog.formulas import FORMULAS, SYMBOLS, WORDS
from benchbench.planning.source_hash import _counts
from benchbench.reference.components import built_in

LOSSES = [component.name for component in built_in("loss")]


def test_every_loss_has_a_formula_and_nothing_else_has():
    assert sorted(FORMULAS) == sorted(LOSSES)
    assert set(WORDS) <= set(FORMULAS)
    assert [name for name, lines in FORMULAS.items() if not lines or isinstance(lines, str)] == []


@pytest.mark.parametrize("loss", FORMULAS)
def test_braces_and_other_pairs_are_balanced(loss):
    for line in FORMULAS[loss]:
        depth = 0
        for brace in re.findall(r"[{}]", line):
            depth += 1 if brace == "{" else -1
            assert depth >= 0, line
        assert depth == 0, line
        for left, right in (
            (r"\(", r"\)"),
            (r"\[", r"\]"),
            (r"\\left", r"\\right(?!arrow)"),
            (r"\\langle", r"\\rangle"),
        ):
            assert len(re.findall(left, line)) == len(re.findall(right, line)), line


@pytest.mark.parametrize("loss", FORMULAS)
def test_becomes_mathml_without_an_unknown_command(loss):
    """The converter passes on what it does not know, and the sign `&` of an alignment is no XML."""
    convert = pytest.importorskip("latex2mathml.converter", reason="needs the extra docs").convert
    for line in FORMULAS[loss]:
        tree = ElementTree.fromstring(convert(line, display="block"))
        assert tree.tag.endswith("math")
        assert "\\" not in "".join(tree.itertext()), line


def test_uses_no_command_that_a_code_host_refuses():
    """GitHub does not draw `operatorname` and macros; a block has one line, for it ignores breaks."""
    lines = [line for lines in FORMULAS.values() for line in lines]
    assert [line for line in lines if re.search(r"\\(operatorname|begin|def|newcommand|\\)|\n|\$|&", line)] == []


@pytest.mark.parametrize("loss", LOSSES)
def test_begins_with_the_loss(loss):
    assert FORMULAS[loss][0].startswith(r"\mathcal{L}")


def test_symbols_are_those_of_the_formulas():
    for symbol in ("z_s", "z_t", "f_s", "f_t", "F_s", "F_t"):
        assert f"`{symbol}`" in SYMBOLS
        letter, side = symbol.split("_")
        assert any(re.search(rf"{letter}_\{{?{side}\b", line) for lines in FORMULAS.values() for line in lines), symbol


def test_enter_no_key():
    assert not _counts("benchbench.losses.catalog.formulas")
