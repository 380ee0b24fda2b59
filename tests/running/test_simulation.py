"""Simulated runs against what can be worked out by hand, and against bounds at the size of clusters."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchbench.hardware.devices import Devices
from benchbench.planning.model import Stage
from benchbench.running.schedule import Schedule
from benchbench.running.simulation import simulate, simulate_many, stage_hours
from benchbench.store import Store
from tests.specs import training_spec

TEACHER, CELL = training_spec(kind="teacher"), training_spec(kind="cell")


def plan_of(*stages: Stage) -> SimpleNamespace:
    return SimpleNamespace(stages={stage.key: stage for stage in stages})


def stage(name: str, *needs: str, devices: int = 1, cohort: str | None = None) -> Stage:
    spec = TEACHER if name.startswith("teacher") else CELL
    return Stage(spec, name, name, {f"need{n}": need for n, need in enumerate(needs)}, {}, cohort, devices)


def run(tmp_path, plan, hours, slots, max_cohort=1):
    return simulate(Schedule(plan, Store(tmp_path), max_cohort), hours, slots)


def test_a_teacher_comes_before_its_cells(tmp_path):
    plan = plan_of(stage("teacher"), *(stage(f"cell{n}", "teacher") for n in range(4)))
    hours = {"teacher": 2.0, **{f"cell{n}": 1.0 for n in range(4)}}
    assert [run(tmp_path, plan, hours, slots).hours for slots in (1, 2, 4, 100)] == [6, 4, 3, 3]
    assert run(tmp_path, plan, hours, 2).bound == 3
    assert run(tmp_path, plan, hours, 2).busy == 6 / 8


def test_cells_of_a_cohort_are_spread_before_they_share(tmp_path):
    plan = plan_of(*(stage(f"cell{n}", cohort="one") for n in range(8)))
    hours = {f"cell{n}": 1.0 for n in range(8)}
    assert [run(tmp_path, plan, hours, slots, max_cohort=8).hours for slots in (1, 2, 8)] == [8, 4, 1]


def test_a_stage_on_several_devices_waits_for_them(tmp_path):
    plan = plan_of(stage("cell0"), stage("cell1"), stage("cell2", devices=2))
    hours = {"cell0": 1.0, "cell1": 2.0, "cell2": 3.0}
    assert [run(tmp_path, plan, hours, slots).hours for slots in (1, 2, 4)] == [6, 5, 3]


def test_what_is_done_takes_no_time(tmp_path):
    plan = plan_of(stage("cell0"), stage("cell1"))
    schedule = Schedule(plan, Store(tmp_path), 1)
    schedule.start([plan.stages["cell0"]])
    schedule.finish(plan.stages["cell0"])
    assert simulate(schedule, {"cell0": 5.0, "cell1": 1.0}, 1).hours == 1
    assert list(schedule.waiting) == ["cell1"]


def test_hours_are_those_of_one_slot():
    devices = Devices("cpu", "a CPU", ("0",), threads=4)
    plan = SimpleNamespace(stages=plan_of(stage("cell0"), stage("cell1", devices=2)).stages, devices=devices)
    assert stage_hours(plan, {"cell0": 8.0, "cell1": 8.0}) == {"cell0": 2.0, "cell1": 1.0}
    assert stage_hours(plan, {"cell0": 8.0}) == {"cell0": 2.0, "cell1": 0.0}
    assert stage_hours(plan, {"cell0": 8.0, "cell1": None}) is None


def test_rows_end_where_more_slots_do_not_help(tmp_path):
    plan = plan_of(stage("teacher"), *(stage(f"cell{n}", "teacher") for n in range(5)))
    hours = dict.fromkeys(plan.stages, 1.0)
    runs = simulate_many(Schedule(plan, Store(tmp_path), 1), hours, own=3)
    assert [(each.slots, each.hours) for each in runs] == [(1, 6), (2, 4), (3, 3), (4, 3), (8, 2)]


@pytest.mark.parametrize("slots", [64, 1024])
def test_ten_thousand_cells_take_what_they_must(tmp_path, slots):
    """Within 5 % of the longest chain and the work together, of which no order can be under the larger."""
    teachers = [stage(f"teacher{n}") for n in range(20)]
    cells = [stage(f"cell{n}", f"teacher{n % 20}", cohort=f"{n % 500}") for n in range(10_000)]
    plan = plan_of(*teachers, *cells)
    hours = {key: 0.1 if each.kind == "teacher" else 1.0 for key, each in plan.stages.items()}
    simulated = run(tmp_path, plan, hours, slots, max_cohort=8)
    assert simulated.bound <= simulated.hours <= 1.05 * simulated.bound
