"""The headline: verdicts as in the table, else accuracies without a claim."""

from __future__ import annotations

import math

import pytest

from benchbench.reports.page.summary import Summary, summary, tone_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.verdicts import TOO_SMALL, verdicts

# Accuracies of each arm, against 0.9000, 0.9001 and 0.9002 of the one that fine-tunes.
RUNS = {
    "KD": [0.920, 0.921, 0.922],
    "A/U": [0.8988, 0.8987, 0.8986],
    "CRD": [0.860, 0.861, 0.859],
    "DKD": [0.880, 0.910, 0.900],
    "RKD": [0.910],
    "AT": [],
}


@pytest.fixture
def compared(make_lab):
    """A lab with an arm for each verdict, and one that has not been run."""
    weights = dict(zip(RUNS, range(1, 9), strict=False))
    arms = {name: {"method": "distill", "loss": {"ce": 1, "kd": weight}} for name, weight in weights.items()}
    lab = make_lab(arms={"tune": {"method": "finetune"}, **arms})
    lab.teach()
    lab.finish_arm("tune", [0.9000, 0.9001, 0.9002])
    for name, accuracies in RUNS.items():
        lab.finish_arm(name, accuracies)
    return lab


def summarized(lab, *tables: Table) -> Summary:
    frame = lab.frame()
    return summary(frame, [verdicts(frame, lab.plan), *tables])


def test_every_verdict_with_its_difference(compared):
    headline = summarized(compared)
    assert headline.title == "Verdicts"
    assert [(item.label.partition(",")[0], item.text, item.tone) for item in headline.items] == [
        ("KD", "surpasses", "good"),
        ("A/U", "matches (worse)", "even"),
        ("CRD", "falls short", "bad"),
        ("DKD", "inconclusive", "open"),
        ("RKD", "n too small to test", "open"),
    ]
    assert headline.items[0].detail.startswith("+2.09 [+1.")
    assert headline.items[4].detail == "+0.99 points"
    assert headline.counts == {
        "surpasses": 1,
        "matches": 1,
        "falls short": 1,
        "inconclusive": 1,
        "n too small to test": 1,
    }
    assert headline.notes == [
        "Distillation against tune in tiny: test accuracy, margin 0.5 points.",
        "Arms without a verdict: 1, since they or the arms they are compared with have no finished run.",
    ]


def test_only_the_column_of_verdicts_is_one(compared):
    # The bits of too few test images, so that the column of their test says that n is too small too.
    for arm, first in (("tune", [0]), ("KD", [0, 1])):
        correct = [place in first for place in range(1000)]
        compared.finish(compared.cells(arm)[0].stage, 0.9, correct=correct)
    frame = compared.frame()
    table = verdicts(frame, compared.plan)
    assert TOO_SMALL in [entry.text for entry in table.rows[0]]
    assert len(summary(frame, [table]).items) == 5


def test_with_several_groups_items_have_their_labels(make_lab):
    data = {name: {"source": "cifar10_subset", "per_class": n} for name, n in (("few", 4), ("more", 8))}
    lab = make_lab(data=data)
    lab.teach()
    for name in data:
        lab.finish_arm("tune", [0.5], data=name)
        lab.finish_arm("distil", [0.6], data=name)
    labels = [item.label for item in summarized(lab).items]
    assert labels == ["few · small · distil, big (scratch)", "more · small · distil, big (scratch)"]


def test_a_text_that_is_no_verdict_has_no_tone():
    assert [tone_of(text) for text in ("–", "", "no reference", "it matches")] == ["", "", "", ""]


def test_signs_of_failure_are_pointed_at(compared):
    table = Table("diagnosis", "Signs", ["arm", "sign"], [[Entry("KD"), Entry("unstable")]] * 3)
    assert summarized(compared, table).notes[-1] == "Signs of failure: 3, in the tables below."


def test_without_verdicts_the_best_and_the_best_distilled(finished):
    headline = summary(finished.frame(), [])
    assert [(item.label, item.text, item.tone) for item in headline.items] == [
        (
            "cifar, small",
            "best: tune, 80.0 % (n=3); best distilled: distil, big (scratch), 70.0 % (n=3), -10.0 points against tune",
            "",
        )
    ]
    assert headline.notes == ["Means only; whether a difference is more than chance is not tested here."]


@pytest.mark.parametrize("measure", ["accuracy", "pixel accuracy", "AP50"])
def test_the_title_names_the_measure(finished, measure):
    frame = finished.frame().assign(miou=0.5, map=0.5)  # columns that are there whatever the suite is about
    assert summary(frame, [], measure).title == f"Test {measure} in short"


def test_cells_without_the_metric_do_not_count(finished):
    frame = finished.frame()
    lacking = (frame.arm == "tune") | ((frame.arm == "distil") & (frame.seed == 0))
    (item,) = summary(frame.assign(accuracy=frame.accuracy.mask(lacking)), []).items
    assert item.text == "best: distil, big (scratch), 75.0 % (n=2)"
    nothing = summary(frame.assign(accuracy=math.nan), [])
    assert (nothing.items, nothing.notes) == ([], [])


def test_the_other_side_is_no_distilled_student_that_is_fine_tuned(chained):
    (item,) = summary(chained.frame(), []).items
    assert item.text.endswith("best distilled: distil, big (scratch), 60.0 % (n=3), -20.0 points against tune")


def test_a_distilled_arm_that_is_best_is_named_once(finished):
    finished.finish_arm("distil", [0.9, 0.9, 0.9])
    (item,) = summary(finished.frame(), []).items
    assert item.text == "best: distil, big (scratch), 90.0 % (n=3), +10.0 points against tune"


def test_nothing_to_compare_with(lab):
    assert summary(lab.frame(), []).items == []
    lab.finish_arm("distil", [0.5])
    lab.finish(lab.teacher())
    (item,) = summary(lab.frame(), []).items
    assert item.text == "best: distil, big (scratch), 50.0 % (n=1)"
