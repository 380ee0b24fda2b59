"""A whole run of a search, in this process: the schedule, the worker and the results know trials."""

from __future__ import annotations

import pytest

from benchbench.components import Component
from benchbench.plugins import load_plugins
from benchbench.reports.results import results_frame
from benchbench.running.runner import RunOptions, run_plan
from benchbench.store import Store
from tests.images import source

# The only run of trials and of the cells that choose among them by way of plan, schedule and worker.
pytestmark = pytest.mark.whole_run
INLINE = Component("inline", "benchbench.executors.inline:InlineExecutor")


def test_a_search_runs_and_is_resumed(tiny_suite, images, tmp_path, plan_of):
    suite = tiny_suite(
        tmp_path,
        data={"few": {"source": source(images), "per_class": 4}},
        selection={"validation": 0.25},
        students={"small": {"model": "cifar/resnet8"}},
        teachers=None,
        recipes={"default": {"epochs": 1, "batch_size": 10, "image_size": 8, "precision": "exact"}},
        arms={"searched": {"method": "scratch", "search": {"recipe.lr": [0.01, 0.001, 1e30]}}},
    )
    plan, store = plan_of(suite), Store(tmp_path / "runs")
    outcome = run_plan(plan, load_plugins(), store, INLINE, RunOptions(tmp_path / "data"))
    assert outcome.failed == {}
    trials = [folder.done() for folder in store.finished("trial")]
    assert len(trials) == 6
    assert {trial.cost.cohort for trial in trials} == {3}
    assert {trial.metrics.test_count for trial in trials} == {0}
    assert sum(trial.metrics.validation_accuracy is None for trial in trials) == 2
    cells = {cell.stage: store.stage("cell", cell.stage).done() for cell in plan.cells}
    assert len({cell.chosen.recipe.lr for cell in cells.values()}) == 1  # one choice for all seeds
    hours = {trial.key: trial.cost.alone_device_hours for trial in trials}
    for cell, row in zip(plan.cells, results_frame(plan, store).itertuples(), strict=True):
        record = cells[cell.stage]
        others = [hours[trial.stage] for trial in cell.trials if trial.stage != record.chosen.key]
        assert row.search_hours == pytest.approx(sum(others))
        assert row.own_hours == pytest.approx(hours[record.chosen.key] + record.cost.alone_device_hours)
    again = run_plan(plan, load_plugins(), store, INLINE, RunOptions(tmp_path / "data"))
    assert again.ran == []
