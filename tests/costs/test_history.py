"""Predictions from finished stages: numbers by hand, and work that counts as the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchbench.costs import estimate
from benchbench.costs.history import OTHERS, SAMPLE, History, Pace
from benchbench.costs.prediction import Predictor, predict
from benchbench.planning.model import Plan, Stage
from benchbench.reports.plan_overview import overview
from benchbench.specs.parts import ComponentSpec
from benchbench.specs.records import Cost, DataRecord, Environment, OutputsMetrics, StageRecord, TrainingMetrics
from benchbench.store import StageFolder, Store
from tests.specs import cost_record, diffusion_record, outputs_record, synthesis_record, training_record

STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
ARMS = {
    "scratch": {"method": "scratch"},
    "probe": {"method": "linear_probe"},
    "tune": {"method": "finetune"},
    "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
}


# An hour of set-up on two devices, and two hours for 900 images of training and 300 of testing: 0.002 hours an image.
def cost(alone_device_hours: float = 3.0, **changes: Any) -> Cost:
    seconds = {"setup": 1800.0, "student": 1800.0 * alone_device_hours - 1800.0}
    return cost_record(**{"alone_seconds": seconds, "devices": 2, "unit": "CPU-hours", "images": 900, **changes})


DATA = DataRecord(names=("a", "b"), train=900, test=300)
METRICS = TrainingMetrics(test_accuracy=0.5, test_count=300, chosen_epoch=1)


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


def finish(plan: Plan, store: Store, stage: Stage, record: StageRecord | None = None, **changes: Any) -> StageFolder:
    """Leaves the files of a finished stage; changes are of its cost."""
    folder = store.stage(stage.kind, stage.key)
    record = record or training_record(metrics=METRICS, data=DATA)
    here = {"cost": cost(**changes), "environment": Environment(device=plan.devices.name)}
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_spec(stage.spec)
    folder.write_record(record.model_copy(update=here))
    return folder


def change(folder: StageFolder, **changes: Any) -> None:
    """Replaces parts of a finished stage's record."""
    record = folder.done()
    assert record is not None
    folder.write_record(record.model_copy(update=changes))


def test_another_seed(planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1))
    stage = stage_of(plan, "scratch", 0)
    pace = History(plan, store).pace(stage)
    assert (pace.fixed, pace.unit, pace.stages) == (1.0, pytest.approx(0.002), 1)
    images = estimate.training_images(plan, stage.spec, "cifar")
    images += estimate.evaluation_images(plan, stage.spec, "cifar") / 3
    assert predict(plan, store)[stage.key] == pytest.approx(1.0 + 0.002 * images)


def test_the_mean_of_several(planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1))
    finish(plan, store, stage_of(plan, "scratch", 2), alone_device_hours=5.0)
    assert History(plan, store).pace(stage_of(plan, "scratch")) == Pace(1.0, pytest.approx(0.003), 2)


def test_no_more_than_a_sample_is_read(planned, store):
    plan = planned(seeds=list(range(SAMPLE + 2)))
    for seed in range(SAMPLE + 2):
        finish(plan, store, stage_of(plan, "scratch", seed))
    assert History(plan, store).pace(stage_of(plan, "scratch")).stages == SAMPLE


def test_images_of_the_validation_split_count_in_every_epoch(planned, store):
    plan = planned("recipes.default.epochs=4")
    folder = finish(plan, store, stage_of(plan, "scratch", 1), images=500)
    change(folder, data=DATA.model_copy(update={"validation": 300}))
    # 500 to train on, 300 to test on, and 4 x 300 to validate on.
    assert History(plan, store).pace(stage_of(plan, "scratch")).unit == pytest.approx(2.0 / (500 + 1500 / 3))


def test_an_earlier_suite_with_other_epochs_rates_and_weights(planned, store, tmp_path):
    (tmp_path / "other.bin").write_bytes(b"others")
    changed = ("recipes.default.epochs=7", "recipes.default.lr=0.5", "students.small.weights.file=other.bin")
    earlier = planned(*changed)
    finish(earlier, store, stage_of(earlier, "tune"))
    plan = planned()
    assert History(plan, store).pace(stage_of(plan, "tune")) == Pace(1.0, pytest.approx(0.002), 1)


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
def test_other_work_does_not_count(override, planned, store):
    earlier = planned(override)
    finish(earlier, store, stage_of(earlier, "scratch"))
    plan = planned()
    assert stage_of(plan, "scratch").key != stage_of(earlier, "scratch").key
    assert History(plan, store).pace(stage_of(plan, "scratch")) is None


def test_a_teacher_that_runs_along_is_other_work_than_one_with_cached_outputs(planned, store):
    earlier = planned("arms.distil.recipe={views: 1}")
    finish(earlier, store, stage_of(earlier, "distil"))
    plan = planned()
    assert History(plan, store).pace(stage_of(plan, "distil")) is None
    assert History(earlier, store).pace(stage_of(earlier, "distil", 1)) is not None


def test_two_backward_passes_are_other_work_than_one(planned, store):
    earlier = planned("recipes.default.optimizer=sgd", "arms.distil.recipe={dot: 0.05}")
    finish(earlier, store, stage_of(earlier, "distil"))
    plan = planned("recipes.default.optimizer=sgd")
    assert History(plan, store).pace(stage_of(plan, "distil")) is None


@pytest.mark.parametrize(("device", "unit"), [("another", "CPU-hours"), (None, "GPU-hours")])
def test_other_devices_do_not_count(device, unit, planned, store):
    plan = planned()
    folder = finish(plan, store, stage_of(plan, "scratch"), unit=unit)
    if device is not None:
        change(folder, environment=Environment(device=device))
    assert History(plan, store).pace(stage_of(plan, "scratch", 1)) is None


def test_the_same_data_goes_before_others(planned, store):
    plan = planned()
    stage = stage_of(plan, "scratch")
    same = stage.spec.data.model_copy(update={"fraction": 0.5})
    other = same.model_copy(update={"source": ComponentSpec(name="another")})
    for key, data, hours in (("a" * 64, other, 21.0), ("b" * 64, same, 3.0)):
        spec = stage.spec.model_copy(update={"data": data})
        finish(plan, store, Stage(spec, key, ""), alone_device_hours=hours)
    assert History(plan, store).pace(stage).unit == pytest.approx(0.002)
    store.stage("cell", "b" * 64).record.unlink()
    assert History(plan, store).pace(stage).unit == pytest.approx(0.02)


def test_images_that_a_frozen_network_runs_on(planned, store):
    plan = planned()
    (stage,) = (each for each in plan.stages.values() if each.kind == "outputs")
    data = DataRecord(names=("a", "b"), train=100, validation=20, test=80)
    finish(plan, store, stage, outputs_record(metrics=OutputsMetrics(images=100, views=4), data=data))
    # 4 x 100 + 20 + 80 images in two hours, and an hour of set-up.
    images = sum(estimate.forward_images(plan, stage.spec, "cifar"))
    assert predict(plan, store)[stage.key] == pytest.approx(1.0 + 2.0 / 500 * images)


def test_generators_by_the_step_and_generated_images_by_the_image(planned, store):
    own = {"source": {"trained_diffusion": {"image_size": 16, "train_steps": 40}}, "per_class": 3, "size": 32}
    arms = {"scratch": {"method": "scratch", "synthetic": "own"}}
    earlier = planned(arms=arms, synthetic={"own": own})
    for record in (diffusion_record(steps=40), synthesis_record(images=25)):
        (stage,) = (each for each in earlier.stages.values() if each.kind == record.kind)
        finish(earlier, store, stage, record)
    own["source"]["trained_diffusion"]["train_steps"], own["per_class"] = 100, 7
    plan = planned(arms=arms, synthetic={"own": own})
    predicted = {plan.stages[key].kind: hours for key, hours in predict(plan, store).items()}
    # Two hours for 40 steps and for 25 images, and an hour of set-up each.
    assert predicted["diffusion"] == pytest.approx(1 + 2 / 40 * 100)
    assert predicted["synthesis"] == pytest.approx(1 + 2 / 25 * 7 * plan.info["cifar"].classes)
    own["source"]["trained_diffusion"]["image_size"] = 32
    plan = planned(arms=arms, synthetic={"own": own})
    predicted = {plan.stages[key].kind: hours for key, hours in predict(plan, store).items()}
    assert (predicted["diffusion"], predicted["synthesis"]) == (None, None)


def test_a_set_of_so_many_times_the_training_images(planned, store):
    plan = planned(
        arms={"scratch": {"method": "scratch", "synthetic": "mixed"}},
        synthetic={"mixed": {"source": "same_class_mixup", "times": 1.5}},
    )
    (stage,) = (each for each in plan.stages.values() if each.kind == "synthesis")
    finish(plan, store, stage, synthesis_record(images=50))
    images = 1.5 * plan.train_images(stage.spec.data, "cifar")
    assert predict(plan, store)[stage.key] == pytest.approx(1 + 2 / 50 * images)


def test_the_hours_that_are_left_do_not_wait_for_measures_of_quality(planned, store):
    plan = planned(
        arms={"scratch": {"method": "scratch", "synthetic": "mixed"}},
        synthetic={"mixed": {"source": "same_class_mixup", "times": 1.5}},
        quality={"teacher": "big", "state": "scratch"},
    )
    by_kind = {stage.kind: stage for stage in plan.stages.values()}
    finish(plan, store, by_kind["synthesis"], synthesis_record(images=50))
    finish(plan, store, by_kind["teacher"], training_record(kind="teacher", metrics=METRICS, data=DATA))
    finish(plan, store, stage_of(plan, "scratch", 1))
    left = predict(plan, store)[stage_of(plan, "scratch").key]
    assert overview(plan, store).rest_hours == pytest.approx(2 * left)
    assert by_kind["quality"].key not in predict(plan, store)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cost": {}}', '{"cost": null}'])
def test_unreadable_stages_do_not_count(text, planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1)).record.write_text(text)
    other = store.stage("cell", "c" * 64)
    other.path.mkdir(parents=True)
    other.record.write_text(text)
    other.spec.write_text(text)
    assert History(plan, store).pace(stage_of(plan, "scratch")) is None


def test_a_large_store_is_not_read_whole(planned, store, monkeypatch):
    plan, paths = planned(), []
    for index in range(OTHERS + 5):
        finish(plan, store, Stage(stage_of(plan, "scratch").spec, f"{index:064x}"[::-1], ""))
    read = StageFolder.read_spec
    monkeypatch.setattr(StageFolder, "read_spec", lambda folder: paths.append(folder.path) or read(folder))
    assert History(plan, store).pace(stage_of(plan, "scratch")).stages == SAMPLE
    assert len(paths) == OTHERS


def test_a_prediction_that_was_given_stays(planned, store):
    plan = planned()
    predictor, stage = Predictor(plan, store), stage_of(plan, "scratch")
    assert predictor.hours(stage.key) is None
    finish(plan, store, stage_of(plan, "scratch", 1))
    assert predictor.hours(stage.key) is None  # the history is that of the run's beginning
    known = Predictor(plan, store)
    before = known.hours(stage.key)
    finish(plan, store, stage_of(plan, "scratch", 1), alone_device_hours=50.0)
    assert known.hours(stage.key) == before


def test_predictions_to_compare_with_stages_do_not_use_them(planned, store):
    plan = planned()
    finish(plan, store, stage_of(plan, "scratch", 1))
    assert Predictor(plan, store, use_history=False).hours(stage_of(plan, "scratch").key) is None


def test_a_trial_that_diverged_counts_for_what_it_did(planned, store):
    """Of one that did so before anybody noted when, nothing is known."""
    plan = planned("recipes.default.epochs=30")
    metrics = TrainingMetrics(test_accuracy=None, test_count=0, chosen_epoch=0, epochs=1)
    data = DATA.model_copy(update={"validation": 300, "test": None})
    record = training_record(metrics=metrics, data=data, weights_sha256=None)
    finish(plan, store, stage_of(plan, "scratch", 1), record, images=900)
    assert History(plan, store).pace(stage_of(plan, "scratch")).unit == pytest.approx(2.0 / (900 + 300 / 3))
    unknown = record.model_copy(update={"metrics": metrics.model_copy(update={"epochs": None})})
    finish(plan, store, stage_of(plan, "scratch", 1), unknown, images=None)
    assert History(plan, store).pace(stage_of(plan, "scratch")) is None
