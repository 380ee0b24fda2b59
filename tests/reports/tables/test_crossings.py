"""Crossings of ladders, on lines that are known."""

from __future__ import annotations

import math

import pytest

from benchbench.reports.tables.crossings import crossings
from tests.reports.ladders import ARMS, KD, LENGTHS, LINES, finish, make_ladders


def texts(table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, [entry.text for entry in row], strict=True)) for row in table.rows]


def test_the_crossing_of_known_lines(make_lab):
    lab = make_ladders(make_lab)
    finish(lab, teacher=20.0)
    lab.calibrate(images_per_second=50)  # pre-training of 2 hours
    given, paid = texts(crossings(lab.frame(), lab.plan))
    # Halfway between 10 and 100 hours in logarithms, and halfway up both lines.
    assert given.pop("crossing").startswith("31.6 [31.")
    assert given.pop("accuracy there").startswith("62.0 [6")
    assert given == {
        "arm": "KD, big (scratch)",
        "against": "tune",
        "hours counted": "as given",
        "ahead first": "tune",
        "ahead then": "KD, big (scratch)",
        "resamples": "100 %",
        "n": "3 / 3",
    }
    # From 30 to 120 hours KD gains 12 points, from 12 to 102 tune gains 4: straight lines in logarithms, 56 + 12 a and
    # 60 + 4 b, of which both hold at the crossing.
    hours, percent = (float(paid[name].split()[0]) for name in ("crossing", "accuracy there"))
    assert 56 + 12 * math.log(hours / 30, 120 / 30) == pytest.approx(percent, abs=0.06)
    assert 60 + 4 * math.log(hours / 12, 102 / 12) == pytest.approx(percent, abs=0.06)
    assert paid["hours counted"] == "all paid"


def test_an_arm_that_is_ahead_throughout(make_lab):
    lab = make_ladders(make_lab)
    finish(lab, LINES | {"KD": (40, 50, 60)})
    given = texts(crossings(lab.frame(), lab.plan))[0]
    assert (given["ahead first"], given["ahead then"]) == ("tune", "tune")
    assert given["crossing"] == "none from 1.00 to 100"
    assert given["resamples"] == "100 %"


def test_without_fine_tuning_the_first_ladder_from_scratch(make_lab):
    lab = make_ladders(make_lab, {name: ARMS[name] for name in ("KD", "scratch")})
    finish(lab, {"scratch": (50, 60, 64), "KD": LINES["KD"]})
    given = texts(crossings(lab.frame(), lab.plan))[0]
    assert (given["against"], given["ahead first"]) == ("scratch", "scratch")


def test_the_first_of_two_ladders_that_fine_tune(make_lab):
    second = {"other": {"method": "finetune", "recipe": {"epochs": [1, 10]}}}
    lab = make_ladders(make_lab, ARMS | second)
    finish(lab)
    assert {row["against"] for row in texts(crossings(lab.frame(), lab.plan))} == {"tune"}


def test_no_hours_in_common(make_lab):
    short = {"KD": KD | {"recipe": {"epochs": [1, 2]}}, "tune": {"method": "finetune", "recipe": {"epochs": [5, 9]}}}
    lab = make_ladders(make_lab, short)
    finish(lab, {"KD": (50, 60), "tune": (50, 60)})
    given = texts(crossings(lab.frame(), lab.plan))[0]
    assert (given["ahead first"], given["crossing"]) == ("no hours in common", "–")


def test_one_seed_has_no_interval(make_lab):
    lab = make_ladders(make_lab, seeds=[0])
    finish(lab)
    given = texts(crossings(lab.frame(), lab.plan))[0]
    assert given["crossing"] in ("31.6", "31.7")
    assert (given["resamples"], given["n"]) == ("–", "1 / 1")


def test_a_seed_that_is_not_finished_on_every_rung_is_not_paired(make_lab):
    lab = make_ladders(make_lab)
    finish(lab)
    lab.folder(lab.cells("KD", row="KD, big (scratch) (10 epochs)")[1].stage).record.unlink()
    given = texts(crossings(lab.frame(), lab.plan))[0]
    assert given["n"] == "2 / 3"
    assert given["crossing"].startswith("31.6 [")


def test_rungs_without_a_run_are_left_out(make_lab):
    """KD from 10 to 100 hours alone still crosses there; with one rung it is no line."""
    lab = make_ladders(make_lab)
    finish(lab)
    for cell in lab.cells("KD", row="KD, big (scratch) (1 epoch)"):
        lab.folder(cell.stage).record.unlink()
    assert texts(crossings(lab.frame(), lab.plan))[0]["crossing"].startswith("31.6 [")
    for cell in lab.cells("KD", row="KD, big (scratch) (10 epochs)"):
        lab.folder(cell.stage).record.unlink()
    assert crossings(lab.frame(), lab.plan) is None


def test_what_is_not_known_is_said(make_lab):
    lab = make_ladders(make_lab)
    finish(lab)  # without a calibration, the hours of the pre-training are not known
    left_out = "all paid leaves out the pre-training of the student where it is not known: probe; tune"
    assert left_out in crossings(lab.frame(), lab.plan).notes
    lab.calibrate(images_per_second=50)
    assert "not known" not in "\n".join(crossings(lab.frame(), lab.plan).notes)


@pytest.mark.parametrize("arms", [{"KD": KD, "tune": ARMS["tune"]}, {"tune": ARMS["tune"]}, {"KD": KD | LENGTHS}])
def test_none_without_two_ladders(make_lab, arms):
    lab = make_ladders(make_lab, arms)
    finish(lab, {name: LINES[name] if "recipe" in arm else (50,) for name, arm in arms.items()})
    assert crossings(lab.frame(), lab.plan) is None


def test_a_ladder_on_a_distilled_student_is_no_reference(make_lab):
    arms = {"first": KD, "on": {"method": "finetune", "start": "first", **LENGTHS}}
    lab = make_ladders(make_lab, arms | {name: ARMS[name] for name in ("KD", "tune")})
    finish(lab, {"first": (50,), "on": (56, 60, 64), "KD": LINES["KD"], "tune": LINES["tune"]})
    assert {row["against"] for row in texts(crossings(lab.frame(), lab.plan))} == {"tune"}
