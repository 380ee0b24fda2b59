from __future__ import annotations

import pytest

from benchbench.reports.tables.published import published

FIGURES = {
    "source": "A. Author 2020, table 1",
    "data": "images",
    "accuracy": {"scratch": {"small": 65.0}, "distil": {"small": 71.25}},
    "teachers": {"big": 80.5},
}


@pytest.fixture
def texts(make_lab):
    """Finishes what is named and gives the table's rows as text."""

    def table(published_figures=FIGURES, finish=True):
        probe = make_lab()
        names = {"data": probe.plan.cells[0].data, "teacher": probe.plan.cells[-1].teacher}
        figures = {**published_figures, "data": names["data"], "teachers": {names["teacher"]: 80.5}}
        lab = make_lab(published=[figures])
        if finish:
            lab.finish(lab.teacher(), accuracy=0.9)
            lab.finish_arm("scratch", [0.5, 0.6, 0.9])
            lab.finish_arm("distil", [0.7])
        table = published(lab.frame(), lab.plan)
        return table, [[entry.text for entry in row] for row in table.rows], names

    return table


def test_beside_one_another(texts):
    table, rows, names = texts()
    data, teacher = names["data"], names["teacher"]
    (distil,) = (row[2] for row in rows if row[2].startswith("distil"))
    # The deviation of 50, 60 and 90 is sqrt((16.67^2 + 6.67^2 + 23.33^2) / 2).
    assert rows == [
        [data, teacher, "teacher (scratch)", "80.50", "90.00 (n=1)", "+9.50", "[1]"],
        [data, "small", "scratch", "65.00", "66.67 ± 20.82 (n=3)", "+1.67", "[1]"],
        [data, "small", distil, "71.25", "70.00 (n=1)", "-1.25", "[1]"],
    ]
    assert "[1] A. Author 2020, table 1" in table.notes


def test_what_has_not_run_is_a_dash(texts):
    _, rows, _ = texts(finish=False)
    assert [row[3:6] for row in rows] == [["80.50", "–", "–"], ["65.00", "–", "–"], ["71.25", "–", "–"]]


def test_no_table_without_figures(lab):
    assert published(lab.frame(), lab.plan) is None
