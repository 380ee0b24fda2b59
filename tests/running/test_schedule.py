"""The order of stages against a plain search of the whole plan, whatever happens to them."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from benchbench.planning.model import KINDS, Stage
from benchbench.running.schedule import Schedule
from benchbench.store import Store
from tests.specs import outputs_spec, training_spec

SPECS = [training_spec(kind="teacher"), outputs_spec(), training_spec(kind="cell")]


def random_plan(rng: random.Random, size: int = 30) -> SimpleNamespace:
    """Stages of which each needs some of those before it, and cells of cohorts."""
    stages: dict[str, Stage] = {}
    for index in range(size):
        before = list(stages)
        needs = {
            f"need{n}": key for n, key in enumerate(rng.sample(before, min(len(before), rng.choice([0, 0, 1, 2]))))
        }
        soft = {"tuning": rng.choice(before)} if before and rng.random() < 0.3 else {}
        soft = {role: key for role, key in soft.items() if key not in needs.values()}
        key = f"{index:064x}"
        cohort = rng.choice([None, "a", "b"])
        stages[key] = Stage(rng.choice(SPECS), key, f"stage {index}", needs, soft, cohort, rng.choice([1, 1, 1, 2]))
    return SimpleNamespace(stages=stages)


class PlainSchedule:
    """All of the contract that can be said without looking at more than the states."""

    def __init__(self, plan):
        self.stages = plan.stages
        self.state = dict.fromkeys(plan.stages, "waiting")

    def ready(self) -> set[str]:
        return {
            key
            for key, stage in self.stages.items()
            if self.state[key] == "waiting"
            and all(self.state[need] == "done" for need in stage.needs.values())
            and all(self.state[need] in ("done", "failed") for need in stage.soft_needs.values())
        }

    def blocked(self) -> set[str]:
        return {
            key
            for key, stage in self.stages.items()
            if self.state[key] == "waiting" and any(self.state[need] == "failed" for need in stage.needs.values())
        }


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens(tmp_path, seed):
    rng = random.Random(seed)
    plan = random_plan(rng)
    schedule, plain = Schedule(plan, Store(tmp_path), max_cohort=3), PlainSchedule(plan)
    for _ in range(200):
        ready = schedule.ready()
        assert {stage.key for stage in ready} == plain.ready()
        assert [KINDS.index(stage.kind) for stage in ready] == sorted(KINDS.index(stage.kind) for stage in ready)
        units = schedule.units(num_slots=rng.choice([1, 2, 5]))
        assert sorted(stage.key for unit in units for stage in unit) == sorted(plain.ready())
        for unit in units:
            assert len(unit) <= 3
            assert len({stage.cohort for stage in unit}) == 1
        step(rng, schedule, plain)
        failed = plain.blocked()
        for stage, needed in schedule.blocked():
            assert stage.key in plain.blocked()
            assert plain.state[needed.key] == "failed"
            schedule.fail(stage, "needs it")
            plain.state[stage.key] = "failed"
        assert all(plain.state[key] == "failed" for key in failed)
        assert plain.blocked() == set()


def step(rng: random.Random, schedule: Schedule, plain: PlainSchedule) -> None:
    """One thing that may happen to a stage."""
    if schedule.ready() and rng.random() < 0.5:
        if rng.random() < 0.3:
            stage = rng.choice(schedule.ready())
            schedule.leave_to_others(stage)
            plain.state[stage.key] = "elsewhere"
            return
        unit = rng.choice(schedule.units(2))
        schedule.start(unit)
        plain.state |= {stage.key: "running" for stage in unit}
    elif schedule.running:
        stage = rng.choice(list(schedule.running.values()))
        event = rng.choice(["finish", "finish", "finish", "fail", "retry"])
        if event == "finish":
            schedule.finish(stage)
        elif event == "fail":
            schedule.fail(stage, "broken")
        else:
            schedule.retry_alone(stage)
            assert schedule.is_alone(stage)
        plain.state[stage.key] = {"finish": "done", "fail": "failed", "retry": "waiting"}[event]
    elif schedule.elsewhere:
        stage = rng.choice(list(schedule.elsewhere.values()))
        if rng.random() < 0.5:
            schedule.finish_elsewhere(stage)
            plain.state[stage.key] = "done"
        else:
            schedule.wait_again(stage)
            plain.state[stage.key] = "waiting"


def test_a_copy_changes_nothing(tmp_path):
    plan = random_plan(random.Random(3))
    schedule = Schedule(plan, Store(tmp_path), max_cohort=3)
    before = [stage.key for stage in schedule.ready()]
    tried = schedule.copy()
    while ready := tried.ready():
        tried.start(ready[:1])
        tried.finish(ready[0])
    assert not tried.waiting
    assert [stage.key for stage in schedule.ready()] == before
    assert len(schedule.waiting) == len(plan.stages)
    assert schedule.outcome.ran == []


def test_enough_units_are_the_first_ones(tmp_path):
    plan = random_plan(random.Random(4))
    schedule = Schedule(plan, Store(tmp_path), max_cohort=3)
    assert schedule.units(1, most=2) == schedule.units(1)[:2]


def test_no_unit_has_more_than_each_slot_has_to_take(tmp_path):
    cells = [Stage(SPECS[2], f"{n}", f"cell {n}", cohort="one") for n in range(10)]
    schedule = Schedule(SimpleNamespace(stages={cell.key: cell for cell in cells}), Store(tmp_path), max_cohort=8)
    assert [len(unit) for unit in schedule.units(num_slots=1, all_slots=1)] == [8, 2]
    assert [len(unit) for unit in schedule.units(num_slots=1, all_slots=4)] == [3, 3, 3, 1]
