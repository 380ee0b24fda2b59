"""The record, weights and curve of a training, and one that goes on where it was."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from benchbench.models.build import build_backbone
from benchbench.specs.parts import ComponentSpec, EarlyStopSpec, TeacherSpec
from benchbench.specs.records import Progress
from benchbench.stages import train
from benchbench.stages.context import StageContext
from benchbench.store import file_sha256, read_predictions
from benchbench.training.checkpoints import Checkpoints
from tests.specs import BIG, SMALL, loss_spec
from tests.stages.contexts import finish
from tests.stages.train.conftest import (
    BATCH,
    EPOCHS,
    TEST_IMAGES,
    KilledError,
    cell,
    few_images,
    images_of,
    recipe,
    teacher_spec,
)

pytestmark = pytest.mark.whole_run


def rebuilt(context: StageContext):
    """The trained network from its weights file alone."""
    model = build_backbone(context.spec.model.without_weights(), "student", context.registry, 10)
    model.load_state_dict(safetensors.torch.load_file(context.folder.weights), strict=True)
    return model.eval()


def test_images():
    images = few_images("test")
    pixels = torch.from_numpy(images.array.transpose(0, 3, 1, 2).copy()).float() / 255
    return pixels, torch.from_numpy(images.labels)


test_images.__test__ = False  # a helper


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_record_is_reproduced_by_the_weights(channels_last, stage):
    spec = cell(recipe=recipe(channels_last=channels_last), data=images_of(validation=0.2), selection="best")
    reports = []
    context = stage(spec, threads=2, report=reports.append)
    start = time.perf_counter()
    result = finish(train, context)
    wall = time.perf_counter() - start
    record, metrics = result.record, result.record.metrics
    assert context.folder.done() == record
    assert context.folder.read_curve() == result.curve

    pixels, labels = test_images()
    model, correct, classes = rebuilt(context), [], []
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for images, own in zip(pixels.split(BATCH), labels.split(BATCH), strict=True):
            top = model(images).logits.argmax(1)
            correct += (top == own).tolist()
            classes += top.tolist()
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(metrics.test_correct), np.uint8))
    assert bits[:TEST_IMAGES].astype(bool).tolist() == correct
    assert metrics.test_count == TEST_IMAGES
    predictions = read_predictions(context.folder.predictions)
    assert predictions.labels.tolist() == labels.tolist()
    assert predictions.classes[:, 0].tolist() == classes
    assert predictions.probabilities.shape == (TEST_IMAGES, 5)
    assert metrics.test_accuracy == np.mean(correct)
    assert metrics.top_class_share == np.bincount(classes).max() / TEST_IMAGES
    assert metrics.largest_class_share == np.bincount(labels).max() / TEST_IMAGES
    assert 0 < metrics.embedding_spread < 1
    assert record.weights_sha256 == file_sha256(context.folder.weights)

    accuracies = [row["validation_accuracy"] for row in result.curve]
    assert [row["epoch"] for row in result.curve] == [1, 2]
    assert metrics.validation_accuracy == max(accuracies)
    assert metrics.chosen_epoch == 1 + accuracies.index(max(accuracies))
    # A fifth of 60 is held out, 1 or 2 of each class; 48 images make 2 steps of 20.
    assert (record.data.train, record.data.validation, record.data.test) == (48, 12, TEST_IMAGES)
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
    last = reports[-1].model_copy(update={"validation_accuracy": None})  # of the last epoch, not of the best one
    assert last == Progress(done=4, total=4, epoch=2, epochs=2, loss=result.curve[-1]["loss"])


def test_a_stage_is_its_spec_s(stage):
    one, same, other = (finish(train, stage(spec)) for spec in (cell(), cell(), cell(seed=4)))
    assert one.record.weights_sha256 == same.record.weights_sha256
    assert one.record.metrics == same.record.metrics
    assert one.curve == same.curve
    assert one.record.weights_sha256 != other.record.weights_sha256
    assert one.record.metrics.chosen_epoch == EPOCHS
    assert one.record.metrics.validation_accuracy is None


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
        "loss": (loss_spec("ce"), loss_spec("align_uniform"), loss_spec("seed", queue=50)),
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


def test_a_training_that_ends_early_counts_what_it_has_trained(stage):
    """Images of the epochs that were trained, of balanced draws and weighted classes."""
    stop = EarlyStopSpec(patience=1, min_delta=0.9)
    early = recipe(epochs=7, early_stop=stop, sampling="balanced", class_weights={"cat": 2.0}, ema=0.5)
    result = finish(train, stage(cell(recipe=early, data=images_of(validation=0.2))))
    record = result.record
    assert (record.metrics.epochs, record.metrics.chosen_epoch, len(result.curve)) == (2, 2, 2)
    assert record.cost.images == 2 * (record.data.train // BATCH) * BATCH
