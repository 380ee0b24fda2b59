"""Tasks from which one pre-training costs less than distillation."""

from __future__ import annotations

import math

import pytest

from benchbench.reports.figures.break_even import break_even_figure
from benchbench.reports.tables.break_even import break_even_table, tasks_text
from benchbench.statistics.break_even import BreakEven
from tests.reports.table_texts import texts


@pytest.fixture
def priced(make_lab):
    """Pre-training takes 2 hours, fine-tuning 1 to 2 a task; distillation and its teacher as given."""

    def make(distil: list[float], teacher: float = 0.0, **changes):
        lab = make_lab(**changes)
        lab.calibrate(50)
        lab.finish(lab.teacher(), hours=teacher)
        lab.finish_arm("tune", [0.5] * 3, [1.0, 1.5, 2.0])
        lab.finish_arm("distil", [0.5] * 3, distil)
        return lab

    return make


def test_every_column(priced):
    lab = priced([1.0, 1.5, 2.0], teacher=0.5)
    table = break_even_table(lab.frame(), lab.plan)
    assert table.columns == [
        "arm",
        "pre-train once",
        "fine-tune a task",
        "distil a task",
        "pre-training pays from",
        "with the teacher's pre-training",
        "n",
    ]
    # A task costs 2.0 with the adapted teacher, all of it, and 1.5 without: 2 hours are made up for by 4 tasks.
    (row,) = texts(table).values()
    assert row[:3] == ["2.00 (estimated)", "1.50", "2.00"]
    assert row[3].startswith("4.00 tasks [")
    assert row[3].endswith(", never]")
    assert row[4] == row[3]  # the teacher starts from random weights
    assert row[5] == "3 / 3"
    notes = "\n".join(table.notes)
    assert "95 % interval" in notes
    assert "in money" not in notes


def test_a_distillation_that_costs_less_with_every_task_is_never_made_up_for(priced):
    lab = priced([0.1, 0.2, 0.3])
    assert texts(break_even_table(lab.frame(), lab.plan))["distil, big (scratch)"][3].startswith("never [")


def test_money_is_a_note(priced):
    lab = priced([3.0] * 3, factors={"price": 2.5, "currency": "EUR"})
    assert "one pre-training: 5 EUR" in "\n".join(break_even_table(lab.frame(), lab.plan).notes)


def test_words_for_every_case():
    assert tasks_text(BreakEven(12.3, 8.0, math.inf, True)) == "12.3 tasks [8.00, never]"
    assert tasks_text(BreakEven(0.4, math.nan, math.nan, True)) == "the first task (0.400)"
    assert tasks_text(BreakEven(math.inf, math.nan, math.nan, True)) == "never"
    assert tasks_text(BreakEven(math.nan, math.nan, math.nan, True)) == "n/a"
    assert (
        tasks_text(BreakEven(5.0, 4.0, 6.0, False)) == "for fewer than 5.00 tasks [4.00, 6.00]; then distillation does"
    )
    assert tasks_text(BreakEven(math.inf, 4.0, math.inf, False)).startswith("from the first task")


def test_none_without_both_sides(make_lab):
    lab = make_lab()
    assert break_even_table(lab.frame(), lab.plan) is None
    assert break_even_figure(lab.frame(), lab.plan, lab.store) is None


def test_the_figure_has_a_line_for_each_way_and_a_mark_at_the_break_even(priced):
    lab = priced([3.0, 3.1, 3.2])
    figure = break_even_figure(lab.frame(), lab.plan, lab.store).figure
    (axis,) = figure.axes
    marks = [line for line in axis.lines if line.get_marker() != "None"]
    assert [mark.get_xdata()[0] for mark in marks] == [pytest.approx(2 / 1.6)]
    assert len([line for line in axis.lines if len(line.get_xdata()) > 2]) == 2
