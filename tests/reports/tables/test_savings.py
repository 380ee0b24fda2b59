"""Savings by distillation: ratios of costs, their intervals, and unknown ones."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchbench.reports.groups import Columns, Runs
from benchbench.reports.tables.savings import cost_ratio, saving_text, savings
from tests.reports.table_texts import texts


def runs(*hours: float, shared: float = 0.0) -> Runs:
    columns = {"own_hours": np.array(hours), "shared_stage_hours": np.full(len(hours), shared)}
    return Runs("distill", len(hours), 0, range(len(hours)), Columns(pd.DataFrame(columns)))


def test_every_column(finished):
    table = savings(finished.frame(), finished.plan)
    assert table.columns == ["arm", "device-hours", "against fine-tune", "against pre-train + fine-tune", "n"]
    # 3 hours and a third of the teacher's 6 are 5; fine-tuning takes 4, and 2 hours of pre-training; no run differs.
    assert texts(table) == {
        "distil, big (scratch)": ["5.00", "25.0 % more [25.0, 25.0]", "16.7 % less [16.7, 16.7]", "3 / 3"]
    }
    notes = "\n".join(table.notes)
    assert "first-order error propagation" in notes
    assert "the arm 'tune'" in notes
    assert "95 % interval" in notes


def test_only_a_suite_with_both_has_it(make_lab):
    for arms in ({"tune": {"method": "finetune"}}, {"distil": {"method": "distill", "loss": {"kd": 1}}}):
        lab = make_lab(arms=arms)
        assert savings(lab.frame(), lab.plan) is None


def test_each_student_has_its_own_reference(make_lab):
    student = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
    lab = make_lab(students={"a": student, "b": {**student, "input_size": 64}})
    lab.finish(lab.teacher(), hours=0.0)
    for name, hours in (("a", 2.0), ("b", 8.0)):
        lab.finish_arm("distil", [0.5] * 3, [4.0] * 3, student=name)
        lab.finish_arm("tune", [0.5] * 3, [hours] * 3, student=name)
    table = savings(lab.frame(), lab.plan)
    assert (table.columns[:3], table.labels) == (["data", "student", "arm"], 3)
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["cifar", "a", "distil, big (scratch)", "4.00", "100.0 % more [100.0, 100.0]", "n/a", "3 / 3"],
        ["cifar", "b", "distil, big (scratch)", "4.00", "50.0 % less [50.0, 50.0]", "n/a", "3 / 3"],
    ]


def test_the_reference_is_no_distilled_student_that_is_fine_tuned(chained):
    table = savings(chained.frame(), chained.plan)
    # 3 hours and a sixth of the teacher's 6, against 4, and 2 of pre-training.
    assert texts(table)["distil, big (scratch)"][2] == "33.3 % less [33.3, 33.3]"
    assert "the arm 'tune'" in "\n".join(table.notes)


def test_students_that_are_fine_tuned_by_an_arm_each(tuned_apart):
    table = savings(tuned_apart.frame(), tuned_apart.plan)
    assert [[entry.text for entry in row[1:]] for row in table.rows] == [
        ["b", "distil, big (scratch)", "4.00", "50.0 % less [50.0, 50.0]", "60.0 % less [60.0, 60.0]", "3 / 3"],
        ["a", "distil, big (scratch)", "4.00", "20.0 % less [20.0, 20.0]", "42.9 % less [42.9, 42.9]", "3 / 3"],
    ]
    assert table.title == "Training time saved by distillation against tune b / tune a in tiny"
    assert "the arm 'tune b / tune a'" in "\n".join(table.notes)


def test_lost_cells_and_single_seeds(lab):
    assert texts(savings(lab.frame(), lab.plan)) == {"distil, big (scratch)": ["–"] * 4}
    lab.finish(lab.teacher(), hours=3.0)
    lab.finish_arm("distil", [0.5], [1.0])
    assert texts(savings(lab.frame(), lab.plan))["distil, big (scratch)"] == ["2.00", "n/a", "n/a", "1 / 0"]
    lab.finish_arm("tune", [0.5], [4.0])
    assert texts(savings(lab.frame(), lab.plan))["distil, big (scratch)"] == ["2.00", "50.0 % less", "n/a", "1 / 1"]


def test_a_failed_arm(lab):
    lab.fail(lab.teacher(), "no weights")
    assert texts(savings(lab.frame(), lab.plan))["distil, big (scratch)"][0] == "failed"


class TestRatio:
    def test_by_hand(self):
        value, low, high = cost_ratio(runs(1.9, 2.1), runs(3.6, 4.4), 0.0, 0.95)
        assert value == pytest.approx(0.5)
        a, b = 0.02 / 2 / 4, 0.32 / 2 / 16  # s² / n / mean²
        df = (a + b) ** 2 / (a**2 + b**2)
        assert df == pytest.approx(1.47, abs=0.01)
        # The t quantile at 1.47 degrees of freedom lies between those of 1 (12.706) and 2 (4.303).
        reach = math.log(high / value) / math.sqrt(a + b)
        assert 4.303 < reach < 12.706
        assert low * high == pytest.approx(value**2)

    def test_constants_add_to_costs_and_not_to_their_spread(self):
        bare = cost_ratio(runs(1.0, 1.1, 1.2), runs(2.0, 2.1, 2.2), 0.0, 0.95)
        added = cost_ratio(runs(1.0, 1.1, 1.2, shared=10.0), runs(2.0, 2.1, 2.2, shared=1.0), 9.0, 0.95)
        assert added[0] == pytest.approx(11.1 / 12.1)
        assert added[2] / added[1] < bare[2] / bare[1]

    def test_the_interval_holds_the_truth_as_often_as_it_says(self):
        random = np.random.default_rng(0)
        hits = 0
        for _ in range(1000):
            ours, theirs = random.normal(1.5, 0.06, 3), random.normal(4.0, 0.3, 3)
            _, low, high = cost_ratio(runs(*ours, shared=0.5), runs(*theirs), 6.0, 0.95)
            hits += low <= 2.0 / 10.0 <= high
        assert 0.94 <= hits / 1000 <= 0.98

    @pytest.mark.parametrize(
        ("ours", "theirs", "added"), [((), (1.0,), 0.0), ((1.0,), (), 0.0), ((1.0,), (1.0,), math.nan)]
    )
    def test_unknown(self, ours, theirs, added):
        assert all(map(math.isnan, cost_ratio(runs(*ours), runs(*theirs), added, 0.95)))


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ((0.06, 0.052, 0.069), "94.0 % less [93.1, 94.8]"),
        ((1.5, 1.4, 1.6), "50.0 % more [40.0, 60.0]"),
        ((0.99, 0.95, 1.03), "1.0 % less [-3.0, 5.0]"),
        ((12.0, math.nan, math.nan), "1,100.0 % more"),
        ((2.4e-6, 2.3e-6, 2.5e-6), "99.9998 % less [99.9997, 99.9998]"),
        ((math.nan, math.nan, math.nan), "n/a"),
    ],
)
def test_in_words(ratio, text):
    assert saving_text(ratio) == text
