"""The training stage, called as a worker calls it: records, weights, teachers, resumption."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from benchbench.data.images import ImageDataset
from benchbench.data.sources.bundled import Cifar10SubsetParams, load
from benchbench.data.sources.common import ArrayImages
from benchbench.errors import DataError, StageError, StoreError, WeightsError
from benchbench.execution.network import ExecutionConfig
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, DataSpec, FileSpec, ModelSpec, RecipeSpec, TeacherSpec, WeightsSpec
from benchbench.specs.records import Progress, TuningMetrics
from benchbench.specs.stages import TrainingSpec
from benchbench.stages import data, train
from benchbench.stages.context import StageContext
from benchbench.stages.data import SplitData
from benchbench.stages.networks import load_frozen, run_frozen
from benchbench.store import StageFolder, file_sha256
from benchbench.training.checkpoints import Checkpoints
from tests.specs import BIG, SMALL, data_spec, loss_spec, recipe_spec, training_spec, tuning_record
from tests.stages.contexts import finish, stage_context

PER_CLASS, SIDE, BATCH, EPOCHS = 6, 32, 20, 2
AUGMENT = (
    ComponentSpec(name="flip", params={"probability": 0.5}),
    ComponentSpec(name="random_crop", params={"padding": 4, "resize": None}),
)


decoded_once = functools.cache(load)
TEST_IMAGES = 100


@functools.cache
def fewer_images(params: Cifar10SubsetParams, root: Path, split: str) -> ImageDataset:
    """The bundled images; of the test split, every tenth, since a test of all takes longer than the training."""
    images = decoded_once(params, root, split)
    if split != "test":
        return images
    array = images.array[::10]
    return ImageDataset(images.labels[::10], images.classes, ArrayImages(array), array)


@pytest.fixture(autouse=True)
def _few_images_decoded_once(monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.load", fewer_images)


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def recipe(**changes: Any) -> RecipeSpec:
    return recipe_spec(**{"epochs": EPOCHS, "batch_size": BATCH, "augment": AUGMENT, "precision": "fp32", **changes})


def cell(**changes: Any) -> TrainingSpec:
    defaults = {"seed": 3, "data_seed": 3, "data": images_of(), "recipe": recipe()}
    return training_spec(**{**defaults, **changes})


def images_of(**changes: Any) -> DataSpec:
    return data_spec(**{"per_class": PER_CLASS, **changes})


def teacher_spec(**changes: Any) -> TrainingSpec:
    """A teacher that trains for an epoch."""
    return cell(**{"kind": "teacher", "model": BIG, "role": "teacher", "recipe": recipe(epochs=1), **changes})


@pytest.fixture
def stage(tmp_path, registry) -> Callable[..., StageContext]:
    """A stage in a new folder."""
    count = 0

    def make(spec: TrainingSpec, **changes: Any) -> StageContext:
        nonlocal count
        count += 1
        return stage_context(spec, tmp_path / f"stage{count}", changes.pop("registry", registry), **changes)

    return make


def rebuilt(context: StageContext):
    """The trained network from its weights file alone."""
    model = build_backbone(context.spec.model.without_weights(), "student", context.registry, 10)
    model.load_state_dict(safetensors.torch.load_file(context.folder.weights), strict=True)
    return model.eval()


def test_images(tmp_path):
    images = fewer_images(Cifar10SubsetParams(), tmp_path, "test")
    pixels = torch.from_numpy(images.array.transpose(0, 3, 1, 2).copy()).float() / 255
    return pixels, torch.from_numpy(images.labels)


test_images.__test__ = False  # a helper


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_record_is_reproduced_by_the_weights(channels_last, stage, tmp_path):
    spec = cell(recipe=recipe(channels_last=channels_last), data=images_of(validation=0.2), selection="best")
    reports = []
    context = stage(spec, threads=2, report=reports.append)
    start = time.perf_counter()
    result = finish(train, context)
    wall = time.perf_counter() - start
    record, metrics = result.record, result.record.metrics
    assert context.folder.done() == record
    assert context.folder.read_curve() == result.curve

    pixels, labels = test_images(tmp_path)
    model, correct = rebuilt(context), []
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for images, own in zip(pixels.split(BATCH), labels.split(BATCH), strict=True):
            correct += (model(images).logits.argmax(1) == own).tolist()
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(metrics.test_correct), np.uint8))
    assert bits[:TEST_IMAGES].astype(bool).tolist() == correct
    assert metrics.test_count == TEST_IMAGES
    assert metrics.test_accuracy == np.mean(correct)
    assert record.weights_sha256 == file_sha256(context.folder.weights)

    accuracies = [row["validation_accuracy"] for row in result.curve]
    assert [row["epoch"] for row in result.curve] == [1, 2]
    assert metrics.validation_accuracy == max(accuracies)
    assert metrics.chosen_epoch == 1 + accuracies.index(max(accuracies))
    # A fifth of 6 a class, rounded, is held out; 50 images make 2 steps of 20.
    assert (record.data.train, record.data.validation, record.data.test) == (50, 10, TEST_IMAGES)
    assert len(record.data.sha256) == 64
    assert record.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert record.teachers == ()

    seconds = record.cost.seconds
    assert record.cost.images == EPOCHS * 2 * BATCH
    assert set(seconds) >= {"setup", "data", "student", "evaluation", "checkpoint"}
    assert all(value >= 0 for value in seconds.values())
    assert 0 < sum(seconds.values()) <= wall
    # A CPU run is charged for its threads; reading images and weights is booked and not charged.
    charged = sum(seconds.values()) - seconds["loading"]
    assert seconds["loading"] > 0
    assert record.cost.device_hours == pytest.approx(charged * 2 / 3600)
    assert (record.cost.devices, record.cost.unit) == (2, "CPU-hours")
    assert reports[-1] == Progress(done=4, total=4, epoch=2, epochs=2)


def test_a_stage_is_its_spec_s(stage):
    one, same, other = (finish(train, stage(spec)) for spec in (cell(), cell(), cell(seed=4)))
    assert one.record.weights_sha256 == same.record.weights_sha256
    assert one.record.metrics == same.record.metrics
    assert one.curve == same.curve
    assert one.record.weights_sha256 != other.record.weights_sha256
    assert one.record.metrics.chosen_epoch == EPOCHS
    assert one.record.metrics.validation_accuracy is None


class KilledError(Exception):
    pass


@pytest.mark.whole_run
def test_a_killed_stage_goes_on_where_it_was(stage, monkeypatch):
    """An augmented, mixed, distilled, best-epoch run: killed after some checkpoint, then started with more threads."""
    teacher = stage(teacher_spec())
    finish(train, teacher)
    changes = {
        "data": images_of(validation=0.2),
        "selection": "best",
        "method": "distill",
        "model": SMALL.model_copy(update={"params": {"drop_rate": 0.3}}),
        "teachers": (TeacherSpec(model=BIG, state="scratch"),),
        "loss": (loss_spec("ce"), loss_spec("align_uniform"), loss_spec("seed")),
    }
    mixers = [ComponentSpec(name=name, params={"alpha": 1.0, "probability": 1.0}) for name in ("mixup", "cutmix")]
    needs, spec = {"teacher0": teacher.folder}, cell(**changes, recipe=recipe(mix=mixers))
    plain = train.run(stage(cell(**changes), needs=needs))
    expected = train.run(stage(spec, needs=needs))
    assert expected.curve != plain.curve
    real, saves = Checkpoints.save, iter(())

    def save(self, state):
        real(self, state)
        if next(saves) == 0:
            raise KilledError

    monkeypatch.setattr(Checkpoints, "save", save)
    for left in (0, 2, 4):  # after the first step, between two epochs, within the second
        saves = itertools.count(left, -1)
        context = stage(spec, needs=needs, checkpoint_seconds=0)
        with pytest.raises(KilledError):
            train.run(context)
        assert not context.folder.weights.exists()
        saves = itertools.count(-1, -1)
        resumed = train.run(replace(context, threads=2))
        assert torch.get_num_threads() == 1  # sums depend on how many share the work
        assert resumed.curve == expected.curve
        for part in ("weights_sha256", "metrics", "data", "model"):
            assert getattr(resumed.record, part) == getattr(expected.record, part)


def test_a_damaged_checkpoint_costs_the_work_and_not_the_result(stage, capsys):
    expected = train.run(stage(cell())).record
    context = stage(cell())
    context.folder.checkpoint.write_bytes(b"damaged")
    assert train.run(context).record.weights_sha256 == expected.weights_sha256
    assert "checkpoint damaged" in capsys.readouterr().out


@pytest.fixture
def teacher_weights(tmp_path):
    """A file of "pre-trained" weights of test_resnet, with batch statistics of its own."""
    torch.manual_seed(5)
    network = timm.create_model("test_resnet")
    network(torch.rand(8, 3, SIDE, SIDE))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    return WeightsSpec(file=FileSpec(path=str(tmp_path / "w.safetensors"), content=""))


def pretrained(weights: WeightsSpec, model: ModelSpec = BIG) -> ModelSpec:
    return model.model_copy(update={"weights": weights})


def loaded(path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def test_a_linear_probe_keeps_the_trunk_that_it_was_given(stage, teacher_weights):
    model = pretrained(teacher_weights)
    context = stage(cell(method="linear_probe", model=model))
    finish(train, context)
    initial, saved = loaded(teacher_weights.file.path), loaded(context.folder.weights)
    trunk = {name.removeprefix("trunk."): tensor for name, tensor in saved.items() if name.startswith("trunk.")}
    assert trunk.keys() == {name for name in initial if not name.startswith("fc.")}
    assert all(torch.equal(tensor, initial[name]) for name, tensor in trunk.items())
    torch.manual_seed(0)
    other = stage(cell(recipe=recipe(lr=1e-9), method="linear_probe", model=model))
    finish(train, other)
    assert not torch.equal(loaded(other.folder.weights)["head.weight"], saved["head.weight"])


def test_fine_tuning_moves_every_weight(stage, teacher_weights):
    context = stage(cell(method="finetune", model=pretrained(teacher_weights)))
    finish(train, context)
    initial, saved = loaded(teacher_weights.file.path), loaded(context.folder.weights)
    still = [
        name for name in initial if not name.startswith("fc.") and torch.equal(saved[f"trunk.{name}"], initial[name])
    ]
    assert still == []


def distilling(state: str, loss: list[str], weights: WeightsSpec | None = None, **changes: Any) -> TrainingSpec:
    return cell(
        method="distill",
        teachers=(TeacherSpec(model=pretrained(weights), state=state),),
        loss=tuple(loss_spec(name) for name in loss),
        recipe=recipe(**{"epochs": 1, **changes}),
    )


@pytest.fixture
def frozen_teachers(monkeypatch) -> list[Backbone]:
    """The teachers of every training that is run from here on."""
    teachers = []
    real = train.load_frozen
    monkeypatch.setattr(train, "load_frozen", lambda *args: teachers.append(real(*args)) or teachers[-1])
    return teachers


def test_an_adapted_teacher_is_used_as_it_was_saved(stage, teacher_weights, frozen_teachers):
    adapted = stage(teacher_spec(method="linear_probe", model=pretrained(teacher_weights), recipe=recipe()))
    finish(train, adapted)
    context = stage(distilling("linear_probe", ["ce", "kd", "srrl"]), needs={"teacher0": adapted.folder})
    result = finish(train, context)
    saved, used = loaded(adapted.folder.weights), frozen_teachers[0].state_dict()
    assert saved.keys() == used.keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in used.items())
    assert not any(part.training for part in frozen_teachers[0].modules())
    assert result.record.teachers[0].parameters == sum(tensor.numel() for tensor in frozen_teachers[0].parameters())
    assert set(result.curve[0]) == {
        *("epoch", "loss", "train_accuracy", "ce", "kd"),
        *("srrl.feature", "srrl.softmax_regression"),
    }
    # The losses' parts are no part of the student.
    names = loaded(context.folder.weights)
    assert all(name in ("mean", "std") or name.startswith(("trunk.", "head.")) for name in names)


@pytest.mark.parametrize("loss", [["ce", "align_uniform"], ["ce", "at"]])
def test_a_teacher_s_execution_does_not_depend_on_who_reads_its_maps(loss, stage, teacher_weights, monkeypatch):
    """Cells of a cohort share it, whichever of them comes first."""
    calls = []

    def stop(context, index, model, loader, maps=False):
        calls.append(maps)
        raise KilledError

    monkeypatch.setattr(train, "run_frozen", stop)
    with pytest.raises(KilledError):
        train.run(stage(distilling("pretrained", loss, teacher_weights)))
    assert calls == [True]


@pytest.mark.parametrize(("precision", "accepted"), [("bf16", True), ("fp32", False)])
def test_a_requested_precision_is_used_whatever_it_moves(precision, accepted, stage, teacher_weights, tmp_path):
    config = ExecutionConfig(precision="bf16", channels_last=True, fold_bn=True)
    tuning = StageFolder(tmp_path / "tuning")
    tuning.path.mkdir()
    metrics = TuningMetrics(execution=config.record(), step_seconds={})
    tuning.write_record(tuning_record(metrics=metrics))
    changes = {"precision": precision, "tolerance": 1e-9}
    context = stage(
        distilling("pretrained", ["ce", "align_uniform"], teacher_weights, **changes), needs={"tuning.teacher0": tuning}
    )
    model = load_frozen(context, context.spec.teachers[0], 0, 10)
    network, execution = run_frozen(context, 0, model, SplitData(context).train)
    assert (network.config == config) is accepted
    assert (execution.deviation > 1e-3) is accepted
    assert bool(execution.refused) is not accepted


@pytest.mark.parametrize("precision", ["exact", "fp32", "auto", "bf16"])
def test_a_teacher_that_is_not_finite_fails_before_training(precision, stage, teacher_weights, tmp_path):
    tensors = loaded(teacher_weights.file.path)
    tensors[next(name for name in reversed(tensors) if name.endswith("bn2.bias"))][0] = torch.nan
    path = tmp_path / "broken.safetensors"
    safetensors.torch.save_file(tensors, path)
    weights = teacher_weights.model_copy(update={"file": teacher_weights.file.model_copy(update={"path": path})})
    context = stage(distilling("pretrained", ["ce", "align_uniform"], weights, precision=precision))
    with pytest.raises(StageError, match=r"teacher 1 \(timm/test_resnet\) gives outputs .* on 16 of 16 images"):
        train.run(context)


def test_a_teacher_as_pre_trained_has_no_head(stage, teacher_weights, frozen_teachers):
    record = finish(train, stage(distilling("pretrained", ["ce", "align_uniform"], teacher_weights))).record
    initial, (teacher,) = loaded(teacher_weights.file.path), frozen_teachers
    assert teacher.head is None
    assert all(torch.equal(tensor, initial[name]) for name, tensor in teacher.trunk.state_dict().items())
    assert record.metrics.test_count == TEST_IMAGES


def test_arms_of_one_seed_start_from_the_same_student(stage, teacher_weights):
    """At a rate of next to nothing the weights are the initial ones."""
    still = {"lr": 1e-12, "weight_decay": 0.0, "epochs": 1}
    scratch = stage(cell(recipe=recipe(**still)))
    distilled = stage(distilling("pretrained", ["ce", "align_uniform"], teacher_weights, **still))
    for context in (scratch, distilled):
        finish(train, context)
    assert torch.equal(loaded(scratch.folder.weights)["head.weight"], loaded(distilled.folder.weights)["head.weight"])


def test_a_teacher_s_damaged_weights_are_refused(stage):
    teacher = stage(teacher_spec())
    finish(train, teacher)
    folder = teacher.folder
    content = bytearray(folder.weights.read_bytes())
    content[-1] ^= 1
    flip_a_bit = partial(folder.weights.write_bytes, content)
    for damage in (flip_a_bit, folder.weights.unlink, folder.record.unlink):
        damage()
        with pytest.raises(StoreError) as caught:
            train.run(stage(distilling("scratch", ["ce", "kd"]), needs={"teacher0": folder}))
        assert str(caught.value) == f"{folder.weights} is missing or damaged; delete {folder.path} to train it again"


def test_weights_that_do_not_fit_are_refused(stage, teacher_weights):
    spec = cell(method="finetune", model=pretrained(teacher_weights, SMALL))
    with pytest.raises(WeightsError, match=r"w\.safetensors does not fit the network: "):
        train.run(stage(spec))


def test_the_subset_does_not_depend_on_the_training_seed(stage, monkeypatch):
    chosen = []

    def stop(*_args):
        raise KilledError

    real = data.make_loader
    monkeypatch.setattr(data, "make_loader", lambda *args: chosen.append(args[0].indices.tolist()) or real(*args))
    monkeypatch.setattr(train, "build_backbone", stop)
    for seed, subset in ((1, 0), (2, 0), (1, 1)):
        with pytest.raises(KilledError):
            train.run(stage(cell(seed=seed, data=images_of(subset_seed=subset))))
    assert chosen[0] == chosen[1] != chosen[2]
    assert [len(indices) for indices in chosen] == [60, 60, 60]


def test_features_reach_the_losses_that_read_them(stage, tmp_path):
    file = tmp_path / "hints.py"
    file.write_text(
        "import benchbench\n"
        "from benchbench.losses.base import Loss\n\n\n"
        "class Hint(Loss):\n"
        "    def __init__(self, context):\n"
        "        super().__init__(context)\n"
        "        self.expected = context.student_features, context.teacher_features\n\n"
        "    def forward(self, student, teacher, batch):\n"
        "        shapes = [[tuple(each.shape[1:]) for each in side.features] for side in (student, teacher)]\n"
        "        assert tuple(shapes) == self.expected, (shapes, self.expected)\n"
        "        return {'maps': student.features[0].square().mean() * len(shapes[0])}\n\n\n"
        "@benchbench.hookimpl\n"
        "def benchbench_losses():\n"
        "    yield benchbench.Component('hint', f'{__name__}:Hint', needs=frozenset({'teacher', 'features'}))\n"
    )
    teacher = stage(teacher_spec())
    finish(train, teacher)
    context = stage(
        distilling("scratch", ["ce", "hint"]),
        needs={"teacher0": teacher.folder},
        registry=load_plugins([file]).registry,
    )
    assert finish(train, context).curve[0]["hint.maps"] > 0


def test_choosing_by_validation_needs_an_image_to_hold_out(stage):
    spec = cell(data=images_of(per_class=1, validation=0.5), selection="best")
    with pytest.raises(DataError, match="no class has an image to spare for validation"):
        train.run(stage(spec))


def test_other_images_have_another_checksum(stage):
    one, same, other = (
        train.run(stage(cell(data=images_of(**changes)))).record.data.sha256 for changes in ({}, {}, {"subset_seed": 1})
    )
    assert one == same != other
