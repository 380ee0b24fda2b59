"""What finished stages say of the next one: figures by hand, what counts as the same work, and what does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.costs import estimate
from benchbench.costs.experience import OTHERS, SAMPLE, Experience, Pace
from benchbench.costs.prediction import Predictor, predict
from benchbench.plan.model import Plan, Stage
from benchbench.store import Store, write_json

STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
ARMS = {
    "scratch": {"method": "scratch"},
    "probe": {"method": "linear_probe"},
    "tune": {"method": "finetune"},
    "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
}
# An hour of set-up on two devices, and two hours for 900 images of training and 300 of testing: 0.002 hours an image.
COST = {
    "alone_seconds": {"setup": 1800.0, "student": 3600.0},
    "alone_device_hours": 3.0,
    "devices": 2,
    "unit": "CPU-hours",
    "images": 900,
}


@pytest.fixture
def planned(tmp_path, tiny_suite, plan_of) -> Callable[..., Plan]:
    def make(*overrides: str, **changes: Any) -> Plan:
        path = tiny_suite(tmp_path, **({"seeds": [0, 1, 2], "students": {"small": STUDENT}, "arms": ARMS} | changes))
        (tmp_path / "weights.bin").write_bytes(b"weights")
        return plan_of(path, *overrides)

    return make


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "runs")
    store.open()
    return store


def stage_of(plan: Plan, arm: str, seed: int = 0) -> Stage:
    (key,) = (cell.stage for cell in plan.cells if cell.arm == arm and cell.seed == seed)
    return plan.stages[key]


def finish(plan: Plan, store: Store, stage: Stage, **changes: Any) -> Path:
    """Leaves what a worker leaves of a training stage; changes are of its cost."""
    folder = store.stage(stage.kind, stage.key)
    record = {
        "cost": COST | changes,
        "metrics": {"test_count": 300},
        "data": {"validation": 0, "test": 300},
        "environment": {"device": plan.devices.name},
    }
    folder.path.mkdir(parents=True, exist_ok=True)
    write_json(folder.spec, {"job": stage.job})
    write_json(folder.record, record)
    return folder.record


def test_another_seed(planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1))
    stage = stage_of(plan, "scratch", 0)
    pace = Experience(plan, store).pace(stage)
    assert (pace.fixed, pace.unit, pace.stages) == (1.0, pytest.approx(0.002), 1)
    images = estimate.trained_images(plan, stage, "cifar") + estimate.tested_images(plan, stage, "cifar") / 3
    assert predict(plan, store)[stage.key] == pytest.approx(1.0 + 0.002 * images)


def test_the_mean_of_several(planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1))
    finish(plan, store, stage_of(plan, "scratch", 2), alone_device_hours=5.0)
    assert Experience(plan, store).pace(stage_of(plan, "scratch")) == Pace(1.0, pytest.approx(0.003), 2)


def test_no_more_than_a_sample_is_read(planned, store):
    plan = planned(seeds=list(range(SAMPLE + 2)))
    for seed in range(SAMPLE + 2):
        finish(plan, store, stage_of(plan, "scratch", seed))
    assert Experience(plan, store).pace(stage_of(plan, "scratch")).stages == SAMPLE


def test_looks_at_the_validation_split_count_too(planned, store):
    plan = planned("recipes.default.epochs=4")
    path = finish(plan, store, stage_of(plan, "scratch", 1), images=500)
    record = Store(store.root).stage("cell", stage_of(plan, "scratch", 1).key).done()
    write_json(path, {**record, "data": {"validation": 300}})
    # 500 to train on, and 300 + 4 x 300 looked at.
    assert Experience(plan, store).pace(stage_of(plan, "scratch")).unit == pytest.approx(2.0 / (500 + 1500 / 3))


def test_an_earlier_suite_with_other_epochs_rates_and_weights(planned, store, tmp_path):
    (tmp_path / "other.bin").write_bytes(b"others")
    changed = ("recipes.default.epochs=7", "recipes.default.lr=0.5", "students.small.weights.file=other.bin")
    earlier = planned(*changed)
    finish(earlier, store, stage_of(earlier, "tune"))
    plan = planned()
    assert Experience(plan, store).pace(stage_of(plan, "tune")) == Pace(1.0, pytest.approx(0.002), 1)


@pytest.mark.parametrize(
    "override",
    [
        "recipes.default.image_size=64",
        "recipes.default.batch_size=3",
        "recipes.default.precision=bf16",
        "recipes.default.augment=[color_jitter]",
        "students.small.model=timm/test_resnet",
        'arms.scratch.loss={"ce": {"label_smoothing": 0.1}}',
    ],
)
def test_other_work_says_nothing(override, planned, store):
    earlier = planned(override)
    finish(earlier, store, stage_of(earlier, "scratch"))
    plan = planned()
    assert stage_of(plan, "scratch").key != stage_of(earlier, "scratch").key
    assert Experience(plan, store).pace(stage_of(plan, "scratch")) is None


def test_a_teacher_that_runs_along_is_other_work_than_one_whose_outputs_were_kept(planned, store):
    earlier = planned("arms.distil.recipe={views: 1}")
    finish(earlier, store, stage_of(earlier, "distil"))
    plan = planned()
    assert Experience(plan, store).pace(stage_of(plan, "distil")) is None
    assert Experience(earlier, store).pace(stage_of(earlier, "distil", 1)) is not None


@pytest.mark.parametrize("change", [{"device": "another"}, {"unit": "GPU-hours"}])
def test_other_devices_say_nothing(change, planned, store):
    plan = planned()
    path = finish(plan, store, stage_of(plan, "scratch"), **{k: v for k, v in change.items() if k == "unit"})
    if "device" in change:
        record = store.stage("cell", stage_of(plan, "scratch").key).done()
        write_json(path, {**record, "environment": change})
    assert Experience(plan, store).pace(stage_of(plan, "scratch", 1)) is None


def test_the_same_data_goes_before_others(planned, store):
    plan = planned()
    wanted, same = stage_of(plan, "scratch"), copy.deepcopy(stage_of(plan, "scratch").job)
    same["data"]["fraction"] = 0.5
    other = copy.deepcopy(same)
    other["data"]["source"] = {"name": "another", "params": {}}
    for key, job, hours in (("a" * 64, other, 21.0), ("b" * 64, same, 3.0)):
        finish(plan, store, Stage("cell", key, "", job), alone_device_hours=hours)
    assert Experience(plan, store).pace(wanted).unit == pytest.approx(0.002)
    store.stage("cell", "b" * 64).record.unlink()
    assert Experience(plan, store).pace(wanted).unit == pytest.approx(0.02)


def test_what_a_frozen_network_is_shown(planned, store):
    plan = planned()
    (stage,) = (each for each in plan.stages.values() if each.kind == "outputs")
    path = finish(plan, store, stage)
    record = store.stage("outputs", stage.key).done()
    shown = {"metrics": {"images": 100, "views": 4}, "data": {"validation": 20, "test": 80}}
    write_json(path, {**record, **shown, "outputs": {"sha256": {"test.embedding": "", "train.embedding": ""}}})
    # 4 x 100 + 20 + 80 images in two hours, and an hour of set-up.
    images = sum(estimate.shown_images(plan, stage, "cifar"))
    assert predict(plan, store)[stage.key] == pytest.approx(1.0 + 2.0 / 500 * images)


def test_generators_by_the_step_and_generated_images_by_the_image(planned, store):
    own = {"source": {"trained_diffusion": {"image_size": 16, "train_steps": 40}}, "per_class": 3, "size": 32}
    arms = {"scratch": {"method": "scratch", "synthetic": "own"}}
    earlier = planned(arms=arms, synthetic={"own": own})
    for kind, metrics in (("diffusion", {"steps": 40}), ("synthesis", {"images": 25})):
        (stage,) = (each for each in earlier.stages.values() if each.kind == kind)
        path = finish(earlier, store, stage)
        write_json(path, {**store.stage(kind, stage.key).done(), "metrics": metrics, "data": {"train": 25}})
    own["source"]["trained_diffusion"]["train_steps"], own["per_class"] = 100, 7
    plan = planned(arms=arms, synthetic={"own": own})
    found = {plan.stages[key].kind: hours for key, hours in predict(plan, store).items()}
    # Two hours for 40 steps and for 25 images, and an hour of set-up each.
    assert found["diffusion"] == pytest.approx(1 + 2 / 40 * 100)
    assert found["synthesis"] == pytest.approx(1 + 2 / 25 * 7 * plan.info["cifar"].classes)
    own["source"]["trained_diffusion"]["image_size"] = 32
    plan = planned(arms=arms, synthetic={"own": own})
    found = {plan.stages[key].kind: hours for key, hours in predict(plan, store).items()}
    assert (found["diffusion"], found["synthesis"]) == (None, None)


def test_a_set_of_so_many_times_the_training_images(planned, store):
    plan = planned(
        arms={"scratch": {"method": "scratch", "synthetic": "mixed"}},
        synthetic={"mixed": {"source": "same_class_mixup", "times": 1.5}},
    )
    (stage,) = (each for each in plan.stages.values() if each.kind == "synthesis")
    path = finish(plan, store, stage)
    write_json(path, {**store.stage("synthesis", stage.key).done(), "metrics": {"images": 50}, "data": {"train": 50}})
    images = 1.5 * plan.train_images(stage.job["data"], "cifar")
    assert predict(plan, store)[stage.key] == pytest.approx(1 + 2 / 50 * images)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cost": {}}', '{"cost": null}'])
def test_what_cannot_be_read_says_nothing(text, planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1)).write_text(text)
    other = store.stage("cell", "c" * 64)
    other.path.mkdir(parents=True)
    other.record.write_text(text)
    other.spec.write_text(text)
    assert Experience(plan, store).pace(stage_of(plan, "scratch")) is None


def test_a_large_store_is_not_read_whole(planned, store, monkeypatch):
    plan, read = planned(), []
    for number in range(OTHERS + 5):
        finish(plan, store, Stage("cell", f"{number:064x}"[::-1], "", stage_of(plan, "scratch").job))
    monkeypatch.setattr("benchbench.costs.experience.read_json", lambda path: read.append(path) or {})
    Experience(plan, store).pace(stage_of(plan, "scratch"))
    assert len(read) == OTHERS


def test_a_figure_that_was_given_stands(planned, store):
    plan = planned()
    predictor, stage = Predictor(plan, store), stage_of(plan, "scratch")
    assert predictor.hours(stage.key) is None
    finish(plan, store, stage_of(plan, "scratch", 1))
    assert predictor.hours(stage.key) is None  # the experience is that of the run's beginning
    known = Predictor(plan, store)
    before = known.hours(stage.key)
    finish(plan, store, stage_of(plan, "scratch", 1), alone_device_hours=50.0)
    assert known.hours(stage.key) == before


def test_predictions_to_be_held_against_stages_do_not_learn_from_them(planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1))
    assert Predictor(plan, store, experience=False).hours(stage_of(plan, "scratch").key) is None
