"""Distilled arms against plain KD, with numbers that can be computed by hand."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.against_kd import against_kd

KD = {"method": "distill", "loss": {"ce": 1, "kd": 1}}
ARMS = {
    "scratch": {"method": "scratch"},
    "KD": KD | {"recipe": {"epochs": [1, 2, 4]}},
    "DKD": {"method": "distill", "loss": {"ce": 1, "dkd": 1}, "recipe": {"epochs": 2}},
    "DIST": {"method": "distill", "loss": {"ce": 1, "dist": 1}, "recipe": {"epochs": 2}},
}
OTHER = {"DKD": {**ARMS["DKD"], "recipe": {}}, "DIST": {**ARMS["DIST"], "recipe": {}}}


def rows(table) -> dict[str, list[str]]:
    """The texts after the teacher, by arm."""
    texts = [[entry.text for entry in entries] for entries in table.rows]
    return {row[1]: row[2:] for row in texts}


def make(make_lab, arms=ARMS):
    lab = make_lab(arms=arms)
    lab.finish(lab.teacher())
    return lab


def finish_kd(lab):
    """50, 60 and 70 % for 1, 2 and 4 hours."""
    for cell in lab.cells("KD"):
        epochs = lab.plan.stages[cell.stage].spec.recipe.epochs
        accuracy = {1: 0.5, 2: 0.6, 4: 0.7}[epochs] + {0: -0.01, 1: 0.0, 2: 0.01}[cell.seed]
        lab.finish(cell.stage, accuracy, epochs)


def test_at_equal_epochs_and_at_equal_hours(make_lab):
    lab = make(make_lab)
    finish_kd(lab)
    lab.finish_arm("DKD", [0.64, 0.65, 0.66], [4.0] * 3)
    lab.finish_arm("DIST", [0.59, 0.60, 0.61], [2.0] * 3)
    table = against_kd(lab.frame(), lab.plan)
    assert table.columns == ["teacher", "arm", "hours, × KD", "over KD, equal epochs", "over KD, equal hours"]
    assert [row[1].text for row in table.rows] == ["DKD", "DIST"]
    # Each side spreads by 1 point over 3 seeds: errors sqrt(2 / 3) = 0.816, and t at 4 degrees of freedom is 2.776.
    assert rows(table) == {
        "DKD": ["2.00", "+5.0 [+2.7, +7.3] better", "-5.0 [-7.3, -2.7] worse"],
        "DIST": ["1.00", "+0.0 [-2.3, +2.3] open", "+0.0 [-2.3, +2.3] open"],
    }


def test_between_the_lengths_of_kd(make_lab):
    lab = make(make_lab)
    finish_kd(lab)
    lab.finish_arm("DKD", [0.66] * 3, [2 * 2**0.5] * 3)  # halfway from 2 to 4 hours in logarithms: 65 %
    lab.finish_arm("DIST", [0.59] * 3, [5.0] * 3)
    texts = rows(against_kd(lab.frame(), lab.plan))
    assert texts["DKD"][2].startswith("+1.0 [")
    assert texts["DIST"][2] == "–"


def test_a_little_less_than_the_shortest_is_its_equal(make_lab):
    lab = make(make_lab)
    finish_kd(lab)
    lab.finish_arm("DKD", [0.49, 0.50, 0.51], [0.96] * 3)
    lab.finish_arm("DIST", [0.49, 0.50, 0.51], [0.94] * 3)
    texts = rows(against_kd(lab.frame(), lab.plan))
    assert texts["DKD"][2] == "+0.0 [-2.3, +2.3] open"
    assert texts["DIST"][2] == "–"


def test_holm_counts_the_arms(make_lab):
    """A difference that is certain alone is open among several."""
    alone, several = (make(make_lab, arms) for arms in ({"KD": KD, "DKD": OTHER["DKD"]}, {"KD": KD, **OTHER}))
    for lab in (alone, several):
        lab.finish_arm("KD", [0.59, 0.60, 0.61])
        lab.finish_arm("DKD", [0.614, 0.624, 0.634])  # p = 0.042
    several.finish_arm("DIST", [0.59, 0.60, 0.61])
    texts = [rows(against_kd(lab.frame(), lab.plan))["DKD"] for lab in (alone, several)]
    assert [text[1] for text in texts] == ["+2.4 [+0.1, +4.7] better", "+2.4 [+0.1, +4.7] open"]
    assert texts[0][2] == "–"  # KD has one length


def test_one_seed_has_no_interval(make_lab):
    lab = make(make_lab, {"KD": KD, **OTHER})
    lab.finish_arm("KD", [0.6])
    lab.finish_arm("DKD", [0.7])
    assert rows(against_kd(lab.frame(), lab.plan)) == {"DKD": ["1.00", "+10.0", "–"]}


@pytest.mark.parametrize(
    "arms",
    [OTHER, {"KD": KD}, {"KD": {**KD, "loss": {"ce": 1, "kd": 1, "dkd": 1}}, **OTHER}],
    ids=["no KD", "nothing else", "no plain KD"],
)
def test_without_two_sides_there_is_none(make_lab, arms):
    lab = make(make_lab, arms)
    for arm in arms:
        lab.finish_arm(arm, [0.5] * 3)
    assert against_kd(lab.frame(), lab.plan) is None
