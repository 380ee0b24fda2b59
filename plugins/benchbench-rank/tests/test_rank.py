"""Ranks of results that can be ranked by hand."""

from pathlib import Path

import pandas as pd
import pytest

from benchbench.plugins import load_plugins
from benchbench.testing import checks_of
from benchbench.testing.sample import sample_plan

FILE = Path(__file__).parent.parent / "benchbench_rank.py"


def texts(*cells: tuple[str, str, float | None]) -> list[list[str]]:
    """The table of cells (arm, data set, accuracy; None where it failed), bold texts with a star."""
    rows = [
        {"row": row, "data": data, "student": "s", "status": "failed" if value is None else "done", "accuracy": value}
        for row, data, value in cells
    ]
    table = load_plugins([FILE]).registry.get("report", "rank").load()(pd.DataFrame(rows), sample_plan())
    return [list(table.columns), *([entry.text + "*" * entry.bold for entry in row] for row in table.rows)]


@pytest.mark.parametrize("check", checks_of(FILE), ids=str)
def test_contract(check):
    finding = check.run()
    assert finding.status != "failed", finding


def test_by_the_mean_over_seeds():
    assert texts(("a", "x", 0.1), ("a", "x", 0.9), ("b", "x", 0.6), ("b", "x", 0.6)) == [
        ["arm", "mean rank", "x, s"],
        ["b", "1*", "1"],
        ["a", "2", "2"],
    ]


def test_mean_rank_over_columns():
    cells = [("a", "x", 0.9), ("b", "x", 0.8), ("c", "x", 0.7), ("a", "y", 0.1), ("b", "y", 0.3), ("c", "y", 0.2)]
    assert texts(*cells)[1:] == [["b", "1.5*", "2", "1"], ["a", "2", "1", "3"], ["c", "2.5", "3", "2"]]


def test_equal_accuracies_share_a_rank():
    assert texts(("a", "x", 0.5), ("b", "x", 0.5))[1:] == [["a", "1.5*", "1.5"], ["b", "1.5*", "1.5"]]


def test_without_a_finished_cell_there_is_no_rank():
    cells = [("a", "x", 0.5), ("b", "x", 0.4), ("b", "y", 0.4), ("a", "y", None), ("c", "x", None), ("c", "y", None)]
    assert texts(*cells)[1:] == [["a", "1*", "1", "–"], ["b", "1.5", "2", "1"], ["c", "–", "–", "–"]]
