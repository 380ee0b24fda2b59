"""The table `search`, and the hours of trials in the results and in the other tables."""

from __future__ import annotations

from typing import Any

import pytest

from benchbench.reports.groups import groups_of
from benchbench.reports.results import results_frame
from benchbench.reports.tables.accuracy import accuracy
from benchbench.reports.tables.break_even import task_hours
from benchbench.reports.tables.gpu_hours import gpu_hours
from benchbench.reports.tables.search import search
from benchbench.specs.records import ChosenTrial, TrainingMetrics
from tests.reports.conftest import Lab

ARMS = {
    "KD": {"method": "distill", "loss": {"ce": 1, "kd": 1}, "search": {"recipe.lr": [0.1, 0.2, 0.3]}},
    "on": {"method": "finetune", "start": "KD"},
    "scratch": {"method": "scratch"},
}
HOURS, TEST, TEACHER = (2.0, 3.0, 4.0), 0.5, 6.0


@pytest.fixture
def searched(make_lab) -> Lab:
    """Three seeds of a search of three trials, of which the second is the best; the third diverges with one seed."""
    lab = make_lab(arms=ARMS, selection={"validation": 0.25})
    lab.finish(lab.teacher(), hours=TEACHER)
    for seed, cell in enumerate(lab.cells("KD")):
        for index, each in enumerate(cell.trials):
            lab.finish(each.stage, hours=HOURS[index])
            validation = None if (seed, index) == (2, 2) else (0.4, 0.7, 0.9)[index] + seed / 100
            metrics = TrainingMetrics(test_accuracy=None, test_count=0, chosen_epoch=1, validation_accuracy=validation)
            lab.write(each.stage, lab.record(each.stage).model_copy(update={"metrics": metrics}))
        lab.finish(cell.stage, 0.8, hours=TEST)
        spec = lab.plan.stages[cell.trials[1].stage].spec
        chosen = ChosenTrial(key=cell.trials[1].stage, recipe=spec.recipe, loss=spec.loss)
        lab.write(cell.stage, lab.record(cell.stage).model_copy(update={"chosen": chosen}))
    lab.finish_arm("on", [0.9] * 3, [1.0] * 3)
    lab.finish_arm("scratch", [0.5] * 3, [1.0] * 3)
    return lab


def row(lab: Lab, arm: str) -> Any:
    return results_frame(lab.plan, lab.store).set_index("arm").loc[arm].iloc[0]


def test_every_trial_is_paid_for_once(searched):
    cell = row(searched, "KD")
    assert cell.status == "done"
    assert cell.trials == 3
    assert cell.own_hours == HOURS[1] + TEST
    assert cell.search_hours == HOURS[0] + HOURS[2]
    assert cell.stage_hours == TEACHER + HOURS[0] + HOURS[2]
    # The teacher stands behind the three cells of each of two arms.
    assert cell.shared_stage_hours == TEACHER / 6 + HOURS[0] + HOURS[2]
    plain = row(searched, "scratch")
    assert (plain.search_hours, plain.stage_hours) == (0, 0)


def test_an_arm_that_goes_on_pays_for_the_whole_search(searched):
    cell = row(searched, "on")
    assert cell.own_hours == 1.0
    assert cell.stage_hours == TEACHER + sum(HOURS) + TEST
    assert cell.search_hours == 0  # it has searched nothing itself


def test_the_table_of_hours_has_a_column_and_a_note_on_fairness(searched):
    frame = searched.frame()
    table = gpu_hours(frame, searched.plan)
    column = [entry[table.columns.index("search")].text for entry in table.rows]
    assert column == ["6.00", "0", "0"]
    unequal = "arms had unequal numbers of trials, and more trials find better values"
    note = f"{unequal}; 3: KD, big (scratch); none: on, scratch"
    assert note in table.notes
    assert note in accuracy(frame, searched.plan).notes
    runs = groups_of(frame)["cifar", "small"]["KD, big (scratch)"]
    assert task_hours(runs).tolist() == [TEACHER + sum(HOURS) + TEST] * 3


def test_no_column_and_no_note_without_a_search(finished):
    frame = finished.frame()
    assert "search" not in gpu_hours(frame, finished.plan).columns
    assert not any("trials" in note for note in accuracy(frame, finished.plan).notes)
    assert search(frame, finished.plan, finished.store) is None


def test_the_chosen_values_with_their_accuracy_and_the_range(searched):
    table = search(searched.frame(), searched.plan, searched.store)
    assert table.columns == ["arm", "trials", "chosen", "validation (%)", "range over the trials"]
    assert [[entry.text for entry in entries] for entries in table.rows] == [
        ["KD, big (scratch)", "3 (1 diverged)", "lr 0.2", "71.0", "41.0 to 71.0"]
    ]


def test_before_anything_is_done(make_lab):
    lab = make_lab(arms=ARMS, selection={"validation": 0.25})
    table = search(lab.frame(), lab.plan, lab.store)
    assert [entry.text for entry in table.rows[0]] == ["KD, big (scratch)", "3", "–", "–", "–"]


def test_a_trial_that_is_gone_makes_its_cell_fail(searched):
    cell = searched.cells("KD")[0]
    searched.folder(cell.trials[1].stage).record.unlink()
    assert "is gone" in row(searched, "KD").reason
