"""Hours of one run, as given and with all paid."""

from __future__ import annotations

import math

import pytest

from benchbench.reports.groups import groups_of
from benchbench.reports.run_hours import accounting_label, run_hours, unknown_hours


def test_both_ways_of_counting(finished):
    """Distillation trains for 3 hours, its teacher for 6; fine-tuning for 4 after a pre-training of 2."""
    (group,) = groups_of(finished.frame()).values()
    hours = {
        row: [run_hours(runs, way).tolist() for way in ("as given", "all paid")] for row, runs in group.rows.items()
    }
    assert hours["tune"] == [[4, 4, 4], [6, 6, 6]]
    assert hours["distil, big (scratch)"] == [[3, 3, 3], [9, 9, 9]]
    assert hours["scratch"] == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize(
    ("hours", "paid", "label"), [(7.0, 16.0, "all paid"), (math.nan, 9.0, "all paid that is known")]
)
def test_the_teachers_pretraining_where_it_is_known(finished, hours, paid, label):
    results = finished.frame()
    results.loc[results.method == "distill", "teacher_pretraining_hours"] = hours
    (group,) = groups_of(results).values()
    assert run_hours(group["distil, big (scratch)"], "all paid").tolist() == [paid] * 3
    assert accounting_label("all paid", group.rows.values()) == label
    assert accounting_label("as given", group.rows.values()) == "as given"
    named = ["all paid leaves out the pre-training of the teachers where it is not known: distil, big (scratch)"]
    assert unknown_hours(results) == (named if math.isnan(hours) else [])
