"""Trainings from pre-trained weights, and with teachers."""

from __future__ import annotations

from functools import partial

import pytest
import safetensors.torch
import timm
import torch

from benchbench.errors import StageError, StoreError, WeightsError
from benchbench.execution.network import ExecutionConfig
from benchbench.models.backbone import Backbone
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.specs.records import TuningMetrics
from benchbench.stages import train
from benchbench.stages.data import SplitData
from benchbench.stages.networks import load_frozen, run_frozen
from benchbench.store import StageFolder
from tests.specs import SMALL, tuning_record
from tests.stages.contexts import finish
from tests.stages.train.conftest import (
    SIDE,
    TEST_IMAGES,
    KilledError,
    cell,
    distilling,
    pretrained,
    recipe,
    teacher_spec,
)


@pytest.fixture
def teacher_weights(tmp_path):
    """A file of "pre-trained" weights of test_resnet, with batch statistics of its own."""
    torch.manual_seed(5)
    network = timm.create_model("test_resnet")
    network(torch.rand(8, 3, SIDE, SIDE))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    return WeightsSpec(file=FileSpec(path=str(tmp_path / "w.safetensors"), content=""))


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

    def stop(context, index, model, loader, maps=False, **_):
        calls.append(maps)
        raise KilledError

    monkeypatch.setattr(train, "run_frozen", stop)
    with pytest.raises(KilledError):
        train.run(stage(distilling("pretrained", loss, teacher_weights)))
    assert calls == [True]


@pytest.mark.parametrize(("precision", "accepted"), [("bf16", True), ("fp32", False)])
def test_a_requested_precision_is_used_whatever_it_moves(precision, accepted, stage, teacher_weights, tmp_path):
    tensors = loaded(teacher_weights.file.path)
    last = next(name for name in reversed(tensors) if name.endswith("bn2.bias"))
    safetensors.torch.save_file({**tensors, last: tensors[last] + 100}, teacher_weights.file.path)  # few bits are left
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
    name = next(name for name in reversed(tensors) if name.endswith("bn2.weight"))
    tensors[name][:] = 3e38  # finite, and what it makes of images is not
    tensors[name.replace("weight", "running_var")][:] = 0.0
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
