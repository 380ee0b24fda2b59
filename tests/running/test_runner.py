"""Order, slots and company of stages: the runner on an executor that only pretends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from benchbench.components import Component
from benchbench.costs import estimate
from benchbench.costs.ledger_summary import predictions
from benchbench.executors.base import Assignment, Event, Executor
from benchbench.hardware.devices import Devices
from benchbench.planning.model import KINDS, Plan
from benchbench.plugins import load_plugins
from benchbench.running.runner import COHORT, RunOptions, run_plan
from benchbench.running.schedule import Outcome
from benchbench.store import Store
from benchbench.testing.sample import sample_record

STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
STUDENT |= {"pretraining": {"images": 1000, "epochs": 10, "image_size": 32, "source": "a paper"}}
TAUGHT = {"method": "distill", "adapt": ["scratch"]}


class Pretender(Executor):
    """Trains nothing. Units end in the order of submission, one per `wait`; `fate` decides how each stage ends."""

    units: ClassVar[list[list[Assignment]]] = []
    most: ClassVar[int] = 0
    fate: ClassVar[Callable[[Assignment, int], str]] = staticmethod(lambda stage, company: "finished")

    def __init__(self, devices, settings):
        super().__init__(devices, settings)
        self.store = Store(settings.store)
        self.running: list[tuple[str, list[Assignment]]] = []

    def submit(self, slot, stages):
        held = {slot, *stages[0].slots}
        assert held <= set(self.devices.slots)
        assert len(held) == 1 + len(stages[0].slots)
        assert held.isdisjoint(each for busy, others in self.running for each in (busy, *others[0].slots))
        self.running.append((slot, stages))
        Pretender.units.append(stages)
        Pretender.most = max(Pretender.most, len(self.running))

    def wait(self, timeout, handle):
        slot, stages = self.running.pop(0)
        for stage in stages:
            handle(self.end(slot, stage, len(stages)))

    def end(self, slot, stage, company):
        fate = Pretender.fate(stage, company)
        if fate == "finished":
            folder = self.store.stage(stage.kind, stage.key)
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_record(sample_record())
        return Event(fate, stage.key, slot, reason="it was killed")

    def close(self):
        pass


@pytest.fixture(autouse=True)
def fate(monkeypatch) -> Callable[[Callable[[Assignment, int], str]], None]:
    """Decides the ends of stages: `fate(lambda stage, company: "failed")`."""
    monkeypatch.setattr(Pretender, "units", [])
    monkeypatch.setattr(Pretender, "most", 0)
    return lambda decide: monkeypatch.setattr(Pretender, "fate", staticmethod(decide))


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path) -> Callable[..., Plan]:
    def make(arms, *overrides: str, slots: int = 1) -> Plan:
        devices = Devices("cpu", "a processor", tuple(map(str, range(slots))), 1)
        path = tiny_suite(tmp_path, arms=arms, students={"small": STUDENT}, data_seed=0)
        (tmp_path / "weights.bin").write_bytes(b"weights")
        return plan_of(path, *overrides, devices=devices)

    return make


@pytest.fixture
def run(tmp_path) -> Callable[..., Outcome]:
    def call(plan, **options) -> Outcome:
        executor = Component("pretender", f"{__name__}:Pretender")
        return run_plan(
            plan, load_plugins(), Store(tmp_path / "runs"), executor, RunOptions(tmp_path / "data", **options)
        )

    return call


def arms(count: int) -> dict[str, Any]:
    """So many arms of one cohort."""
    return {f"kd {weight}": {**TAUGHT, "loss": {"ce": 1, "kd": weight}} for weight in range(1, count + 1)}


def kinds() -> list[list[str]]:
    return [[stage.kind for stage in unit] for unit in Pretender.units]


def sizes(kind: str = "cell") -> list[int]:
    return [len(unit) for unit in Pretender.units if unit[0].kind == kind]


def labels() -> list[list[str]]:
    return [[stage.label.split(",")[0].split(" |")[0] for stage in unit] for unit in Pretender.units]


def test_cells_of_a_cohort_are_one_unit(planned, run):
    plan = planned(arms(3))
    outcome = run(plan)
    assert kinds() == [["teacher"], ["cell"] * 6]
    assert sorted(outcome.ran) == sorted(plan.stages)


@pytest.mark.parametrize(
    ("cohort", "expected"), [(1, [1] * 10), (2, [2] * 5), (3, [3, 3, 3, 1]), (COHORT, [8, 2]), (100, [10])]
)
def test_a_unit_is_no_larger_than_asked_for(cohort, expected, planned, run):
    run(planned(arms(5)), max_cohort=cohort)
    assert sizes() == expected


@pytest.mark.parametrize(
    ("slots", "expected"), [(1, [6]), (2, [3, 3]), (3, [2, 2, 2]), (4, [1, 1, 2, 2]), (6, [1] * 6), (9, [1] * 6)]
)
def test_a_unit_is_split_so_that_no_worker_idles(slots, expected, planned, run):
    plan = planned(arms(3), slots=slots)
    run(plan)
    assert sorted(sizes()) == expected
    assert Pretender.most == min(slots, 6)
    assert sorted(stage.key for unit in Pretender.units for stage in unit) == sorted(plan.stages)


def test_a_stage_on_several_slots_is_alone_on_them(planned, run):
    """It waits until they are free, and those after it wait behind it."""
    wide = {"wide": {"method": "scratch", "recipe": {"devices": 2}}}
    plan = planned(
        {"first": {"method": "scratch", "recipe": {"epochs": 2}}, **wide, **arms(2)}, "seeds=[0, 1, 2]", slots=3
    )
    outcome = run(plan)
    assert sorted(outcome.ran) == sorted(plan.stages)
    wides = [unit for unit in Pretender.units if unit[0].label.startswith("wide")]
    assert [(len(unit), len(unit[0].slots)) for unit in wides] == [(1, 1)] * 3
    assert {len(unit[0].slots) for unit in Pretender.units if unit not in wides} == {0}


def test_cohorts_are_not_mixed(planned, run):
    plan = planned({**arms(2), "scratch": {"method": "scratch"}, "other": {**arms(1)["kd 1"], "recipe": {"epochs": 2}}})
    run(plan)
    cohorts = [{plan.stages[stage.key].cohort for stage in unit} for unit in Pretender.units]
    assert all(len(each) == 1 for each in cohorts)
    assert sorted(sizes()) == [2, 2, 4]


def test_stages_without_a_cohort_are_alone(planned, run):
    run(planned({"probe": {"method": "linear_probe"}}))
    assert sizes() == [1, 1]


def test_a_cohort_waits_for_the_stages_that_it_needs(planned, run):
    """Cells whose teacher is not ready are in no unit; those without a teacher begin."""
    plan = planned({**arms(1), "scratch": {"method": "scratch"}}, slots=2)
    run(plan)
    assert kinds()[:2] == [["teacher"], ["cell", "cell"]]
    assert labels()[1] == ["scratch", "scratch"]
    finished: set[str] = set()
    for unit in Pretender.units:
        for stage in unit:
            assert {key for _, key in stage.needs.values()} <= finished | {stage.key for stage in unit}
        finished |= {stage.key for stage in unit}


def test_kinds_come_in_their_order(planned, run):
    """In any order in the plan, where all of them are ready."""
    everything = {"tuned": {"method": "finetune"}, "probe": {"method": "linear_probe"}, **arms(1)}
    run(planned(everything, "recipes.default.precision=auto", "seeds=[0]"))
    order = [unit[0].kind for unit in Pretender.units]
    assert set(order) == set(KINDS) - {"diffusion", "synthesis", "pretraining", "trial", "quality"}
    assert order == sorted(order, key=KINDS.index)


def die_with(label: str, alone: str = "died"):
    """A stage kills its worker, and so the stages beside it."""

    def fate(stage, company):
        if stage.kind != "cell":
            return "finished"
        unit = next(unit for unit in reversed(Pretender.units) if stage in unit)
        if any(each.label.startswith(label) for each in unit):
            return "died" if company > 1 else alone
        return "finished"

    return fate


def test_a_worker_that_dies_costs_one_stage_and_the_others_are_run_again(planned, run, fate):
    fate(die_with("kd 2"))
    plan = planned(arms(3), "seeds=[0]")
    outcome = run(plan)
    assert sizes() == [3, 1, 1, 1]
    failed = [plan.stages[key].label for key in outcome.failed]
    assert len(failed) == 1
    assert failed[0].startswith("kd 2")
    (reason,) = outcome.failed.values()
    assert reason == "it was killed; run the same command again to go on from its last checkpoint"
    assert len(outcome.ran) == 3


def test_a_stage_that_dies_in_company_may_finish_alone(planned, run, fate):
    fate(die_with("kd 2", alone="finished"))
    outcome = run(planned(arms(2)))
    assert outcome.failed == {}
    assert sizes() == [4, 1, 1, 1, 1]


def test_stages_whose_device_breaks_are_tried_once_more_each_alone(planned, run, fate):
    fate(lambda stage, company: "broken" if stage.kind == "cell" and company > 1 else "finished")
    outcome = run(planned(arms(3), "seeds=[0]"))
    assert outcome.failed == {}
    assert sizes() == [3, 1, 1, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_stage_that_breaks_its_device_alone_too_fails_with_its_reason(count, planned, run, fate):
    def decide(stage, company):
        return "broken" if company > 1 or stage.label.startswith("kd 1") else "finished"

    fate(decide)
    plan = planned(arms(count), "seeds=[0]")
    outcome = run(plan)
    assert sizes() == [count, *[1] * count]
    assert list(outcome.failed.values()) == ["it was killed"]
    (key,) = outcome.failed
    assert plan.stages[key].label.startswith("kd 1")


def test_one_that_fails_is_not_run_again_until_the_next_run(planned, run, fate):
    fate(lambda stage, company: "failed" if stage.label.startswith("kd 2") else "finished")
    plan = planned(arms(3), "seeds=[0]")
    outcome = run(plan)
    assert sizes() == [3]
    assert list(outcome.failed.values()) == ["it was killed"]
    assert len(outcome.ran) == 3
    (failed,) = outcome.failed
    fate(lambda stage, company: "finished")
    assert failed in run(plan).ran


@pytest.mark.parametrize("kind", ["teacher", "outputs"])
def test_stages_that_need_a_failed_one_fail(kind, planned, run, fate):
    fate(lambda stage, company: "failed" if stage.kind == kind else "finished")
    everything = {**arms(2), "scratch": {"method": "scratch"}}
    plan = planned(everything, "seeds=[0]", "recipes.distill.views=1", slots=2)
    outcome = run(plan)
    assert {plan.stages[key].label.split(",")[0] for key in outcome.ran if plan.stages[key].kind == "cell"} == {
        "scratch | cifar | small | seed 0"
    }
    assert sum("which failed" in reason for reason in outcome.failed.values()) == (2 if kind == "outputs" else 3)


def test_a_failed_measurement_fails_no_other_stage(planned, run, fate):
    fate(lambda stage, company: "failed" if stage.kind == "tuning" else "finished")
    plan = planned(arms(2), "recipes.default.precision=auto")
    outcome = run(plan)
    assert {plan.stages[key].kind for key in outcome.failed} == {"tuning"}
    assert sizes() == [4]


def test_measurements_come_first(planned, run):
    run(planned(arms(2), "recipes.default.precision=auto", slots=4))
    order = [kind for unit in kinds() for kind in unit]
    assert order.index("cell") > max(index for index, kind in enumerate(order) if kind == "tuning")
    cells = next(unit for unit in Pretender.units if unit[0].kind == "cell")
    roles = {tuple(sorted(stage.needs)) for stage in cells}
    assert roles == {("teacher0", "tuning.student", "tuning.teacher0")}


def test_finished_cells_are_not_run_and_the_rest_of_a_cohort_goes_on(planned, run):
    first = planned(arms(1))
    run(first)
    Pretender.units.clear()
    again = run(planned(arms(3)))
    assert kinds() == [["cell"] * 4]
    assert len(again.reused) == len(first.stages) == 3


def test_predictions_of_stages_are_in_the_ledger(planned, run, tmp_path):
    run(planned({"scratch": {"method": "scratch"}}, "seeds=[0]"))
    assert predictions(Store(tmp_path / "runs")) == {}  # nothing was known
    plan = planned({"scratch": {"method": "scratch"}}, "seeds=[0, 1, 2]")
    known, new = plan.cells[0].stage, [cell.stage for cell in plan.cells[1:]]
    run(plan)
    predicted = predictions(Store(tmp_path / "runs"))
    assert set(predicted) == set(new)
    assert known not in predicted
    # `sample_record` has 93 seconds, one of set-up included, for 2,000 images of training and 1,000 of testing.
    stage = plan.stages[new[0]]
    tested = estimate.evaluation_images(plan, stage.spec, "cifar")
    images = estimate.training_images(plan, stage.spec, "cifar") + tested / 3
    expected = (1 + 92 / (2000 + 1000 / 3) * images) / 3600
    assert list(predicted.values()) == [pytest.approx(expected)] * 2
