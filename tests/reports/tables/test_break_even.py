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


@pytest.mark.parametrize(
    ("start", "expected"),
    [({}, "5.00 tasks ["), ({"start": "corpus"}, "the first task")],
    ids=["random weights", "the same pre-training"],
)
def test_at_constant_power_energy_breaks_even_where_hours_do(make_lab, start, expected):
    """Pre-training takes 10 hours and the teacher's adaptation 2, which each task pays in full."""
    corpus = {"data": {"source": "cifar10_subset", "per_class": 4}}
    student = {"model": "timm/test_efficientnet", "weights": {"pretraining": "corpus"}}
    arms = {"tune": {"method": "finetune"}, "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}, **start}}
    lab = make_lab(pretraining={"corpus": corpus}, students={"small": student}, arms=arms)
    hours = {key: {"pretraining": 10.0, "teacher": 2.0}.get(stage.kind, 0.0) for key, stage in lab.plan.stages.items()}
    hours |= {cell.stage: 1.2 + cell.seed / 5 for cell in lab.cells("tune")}
    hours |= {cell.stage: 1.3 + cell.seed / 10 for cell in lab.cells("distil")}
    for key, each in hours.items():
        lab.finish(key, hours=each, energy_joules=100 * 3600 * each)
    table = break_even_table(lab.frame(), lab.plan)
    (row,) = texts(table).values()
    in_hours, in_energy = (row[table.columns.index(name) - 1] for name in ("pre-training pays from", "in energy"))
    assert in_hours.startswith(expected)
    assert in_energy == in_hours


def test_words_for_every_case():
    assert tasks_text(BreakEven(12.3, 8.0, math.inf, True)) == "12.3 tasks [8.00, never]"
    assert tasks_text(BreakEven(0.4, math.nan, math.nan, True)) == "the first task (0.400)"
    assert tasks_text(BreakEven(0.0, 0.0, 0.0, True)) == "the first task"
    assert tasks_text(BreakEven(0.0, 0.0, math.inf, True)) == "the first task (0 [0, never])"
    assert tasks_text(BreakEven(math.inf, 0.0, math.inf, True)) == "never [0, never]"
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


def test_the_pre_trained_side_is_no_distilled_student_that_is_fine_tuned(chained):
    (row,) = texts(break_even_table(chained.frame(), chained.plan)).values()
    assert row[:2] == ["2.00 (estimated)", "4.00"]


def test_the_legend_has_every_arm_that_fine_tunes(tuned_apart):
    figure = break_even_figure(tuned_apart.frame(), tuned_apart.plan, tuned_apart.store).figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["tune b / tune a", "distil, big (scratch)"]
