"""The training stage, called as a worker calls it: records, weights, teachers, resumption."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from benchbench.data.sources.bundled import Cifar10SubsetParams, load
from benchbench.errors import DataError, StoreError, WeightsError
from benchbench.execution.network import ExecutionConfig
from benchbench.models.backbone import build_backbone
from benchbench.plugins import load_plugins
from benchbench.stages import data as feeding
from benchbench.stages import train
from benchbench.stages.context import StageContext
from benchbench.stages.data import SplitData
from benchbench.stages.networks import load_frozen, run_frozen
from benchbench.store import StageFolder, file_sha256, write_json
from benchbench.suite.schema import Recipe
from benchbench.training.checkpoints import Checkpoints

PER_CLASS, SIDE, BATCH, EPOCHS = 6, 32, 20, 2
AUGMENT = [
    {"name": "flip", "params": {"probability": 0.5}},
    {"name": "random_crop", "params": {"padding": 4, "resize": None}},
]


decoded_once = functools.cache(load)


@pytest.fixture(autouse=True)
def _images_are_decoded_once(monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.load", decoded_once)


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def model_job(name="test_efficientnet", **changes) -> dict[str, Any]:
    job = {"source": "timm", "name": name, "params": {}, "weights": None, "mean": None, "std": None, "input_size": None}
    return job | changes


def make_job(recipe=None, data=None, **changes) -> dict[str, Any]:
    full = Recipe(**({"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE} | (recipe or {})))
    source = {"source": {"name": "cifar10_subset", "params": {}}, "fraction": None, "per_class": PER_CLASS}
    return {
        "method": "scratch",
        "seed": 3,
        "data_seed": 3,
        "view_seed": 0,
        "data": source | {"subset_seed": 0, "validation": 0.0} | (data or {}),
        "model": model_job(),
        "model_kind": "student",
        "teachers": [],
        "selection": "last",
        "loss": [{"name": "ce", "params": {"label_smoothing": 0.0}, "weight": 1.0}],
        "recipe": full.model_dump(mode="json") | {"augment": AUGMENT},
    } | changes


@pytest.fixture
def stage(tmp_path, registry) -> Callable[..., StageContext]:
    """A stage in a new folder."""
    count = 0

    def make(job: dict[str, Any], **changes: Any) -> StageContext:
        nonlocal count
        count += 1
        folder = StageFolder(tmp_path / f"stage{count}")
        folder.path.mkdir()
        context = StageContext(
            job=job,
            folder=folder,
            needs={},
            registry=registry,
            device="cpu",
            threads=1,
            held=1,
            unit="CPU-hours",
            data_root=tmp_path / "data",
            checkpoint_seconds=1e9,
            report=lambda progress: None,
        )
        return replace(context, **changes)

    return make


def finish(context: StageContext) -> dict[str, Any]:
    """Runs a stage and writes its record, as the worker does."""
    record = train.run(context)
    write_json(context.folder.record, record)
    return record


def rebuilt(context: StageContext):
    """The trained network from its weights file alone."""
    model = build_backbone(context.job["model"] | {"weights": None}, "student", context.registry, 10)
    model.load_state_dict(safetensors.torch.load_file(context.folder.weights), strict=True)
    return model.eval()


def test_images(tmp_path):
    images = load(Cifar10SubsetParams(), tmp_path, "test")
    pixels = torch.from_numpy(images.array.transpose(0, 3, 1, 2).copy()).float() / 255
    return pixels, torch.from_numpy(images.labels)


test_images.__test__ = False  # a helper


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_record_is_reproduced_by_the_weights(channels_last, stage, tmp_path):
    context = stage(
        make_job({"channels_last": channels_last}, data={"validation": 0.2}, selection="best"), held=2, threads=2
    )
    seen = []
    context = replace(context, report=seen.append)
    begun = time.perf_counter()
    record = finish(context)
    wall = time.perf_counter() - begun
    assert json.loads(json.dumps(record, allow_nan=False)) == record

    pixels, labels = test_images(tmp_path)
    model, correct = rebuilt(context), []
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for images, own in zip(pixels.split(BATCH), labels.split(BATCH), strict=True):
            correct += (model(images).logits.argmax(1) == own).tolist()
    metrics = record["metrics"]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(metrics["test_correct"]), np.uint8))
    assert bits[:1000].astype(bool).tolist() == correct
    assert metrics["test_count"] == 1000
    assert metrics["test_accuracy"] == np.mean(correct)
    assert record["weights_sha256"] == file_sha256(context.folder.weights)

    accuracies = [row["validation_accuracy"] for row in record["curve"]]
    assert [row["epoch"] for row in record["curve"]] == [1, 2]
    assert metrics["validation_accuracy"] == max(accuracies)
    assert metrics["chosen_epoch"] == 1 + accuracies.index(max(accuracies))
    # A fifth of 6 a class, rounded, is held out; 50 images make 2 steps of 20.
    counts = {name: record["data"][name] for name in ("train", "validation", "test")}
    assert counts == {"train": 50, "validation": 10, "test": 1000}
    assert len(record["data"]["sha256"]) == 64
    assert record["model"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert record["teachers"] == []

    cost = record["cost"]
    assert cost["images"] == EPOCHS * 2 * BATCH
    assert set(cost["seconds"]) >= {"setup", "data", "student", "evaluation", "checkpoint"}
    assert all(seconds >= 0 for seconds in cost["seconds"].values())
    assert 0 < sum(cost["seconds"].values()) <= wall
    # What a CPU run holds is its threads; reading images and weights is booked and not charged.
    charged = sum(cost["seconds"].values()) - cost["seconds"]["loading"]
    assert cost["seconds"]["loading"] > 0
    assert cost["device_hours"] == pytest.approx(charged * 2 / 3600)
    assert (cost["devices"], cost["unit"]) == (2, "CPU-hours")
    assert seen[-1] == {"done": 4, "total": 4, "epoch": 2, "epochs": 2}


def test_a_stage_is_its_job_s(stage):
    records = [finish(stage(job)) for job in (make_job(), make_job(), make_job(seed=4))]
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["curve"] == records[1]["curve"]
    assert records[0]["weights_sha256"] != records[2]["weights_sha256"]
    assert records[0]["metrics"]["chosen_epoch"] == EPOCHS
    assert records[0]["metrics"]["validation_accuracy"] is None


class KilledError(Exception):
    pass


def test_a_killed_stage_goes_on_where_it_was(stage, monkeypatch):
    """An augmented, mixed, distilled, best-epoch run: killed after some checkpoint, then started with more threads."""
    teacher = stage(make_job({"epochs": 1}, model=model_job("test_resnet"), model_kind="teacher"))
    finish(teacher)
    job = make_job(
        data={"validation": 0.2},
        selection="best",
        method="distill",
        model=model_job(params={"drop_rate": 0.3}),
        teachers=[{"model": model_job("test_resnet"), "adapt": "scratch", "weight": 1.0}],
        loss=[{"name": name, "params": {}, "weight": 1.0} for name in ("ce", "align_uniform", "seed")],
    )
    plain = train.run(stage(job, needs={"teacher0": teacher.folder}))
    job["recipe"]["mix"] = [
        {"name": name, "params": {"alpha": 1.0, "probability": 1.0}} for name in ("mixup", "cutmix")
    ]
    needs = {"teacher0": teacher.folder}
    expected = train.run(stage(job, needs=needs))
    assert expected["curve"] != plain["curve"]
    real, saves = Checkpoints.save, iter(())

    def save(self, state):
        real(self, state)
        if next(saves) == 0:
            raise KilledError

    monkeypatch.setattr(Checkpoints, "save", save)
    for left in (0, 2, 4):  # after the first step, between two epochs, within the second
        saves = itertools.count(left, -1)
        context = stage(job, needs=needs, checkpoint_seconds=0)
        with pytest.raises(KilledError):
            train.run(context)
        assert not context.folder.weights.exists()
        saves = itertools.count(-1, -1)
        record = train.run(replace(context, threads=2))
        assert torch.get_num_threads() == 1  # sums depend on how many share the work
        for part in ("weights_sha256", "metrics", "curve", "data", "model"):
            assert record[part] == expected[part]


def test_a_damaged_checkpoint_costs_the_work_and_not_the_result(stage, capsys):
    expected = train.run(stage(make_job()))
    context = stage(make_job())
    context.folder.checkpoint.write_bytes(b"damaged")
    assert train.run(context)["weights_sha256"] == expected["weights_sha256"]
    assert "checkpoint damaged" in capsys.readouterr().out


@pytest.fixture
def teacher_weights(tmp_path):
    """A file of "pre-trained" weights of test_resnet, with batch statistics of its own."""
    torch.manual_seed(5)
    network = timm.create_model("test_resnet")
    network(torch.rand(8, 3, SIDE, SIDE))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    return {"file": str(tmp_path / "w.safetensors")}


def loaded(path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def test_a_linear_probe_keeps_the_trunk_that_it_was_given(stage, teacher_weights):
    context = stage(make_job(method="linear_probe", model=model_job("test_resnet", weights=teacher_weights)))
    finish(context)
    given, found = loaded(teacher_weights["file"]), loaded(context.folder.weights)
    trunk = {name.removeprefix("trunk."): tensor for name, tensor in found.items() if name.startswith("trunk.")}
    assert trunk.keys() == {name for name in given if not name.startswith("fc.")}
    assert all(torch.equal(tensor, given[name]) for name, tensor in trunk.items())
    torch.manual_seed(0)
    other = stage(make_job({"lr": 1e-9}, method="linear_probe", model=context.job["model"]))
    finish(other)
    assert not torch.equal(loaded(other.folder.weights)["head.weight"], found["head.weight"])


def test_fine_tuning_moves_every_weight(stage, teacher_weights):
    context = stage(make_job(method="finetune", model=model_job("test_resnet", weights=teacher_weights)))
    finish(context)
    given, found = loaded(teacher_weights["file"]), loaded(context.folder.weights)
    assert [
        name for name in given if not name.startswith("fc.") and torch.equal(found[f"trunk.{name}"], given[name])
    ] == []


def distilling(adapt: str, loss: list[str], weights=None) -> dict[str, Any]:
    return make_job(
        {"epochs": 1},
        method="distill",
        teachers=[{"model": model_job("test_resnet", weights=weights), "adapt": adapt, "weight": 1.0}],
        loss=[{"name": name, "params": {}, "weight": 1.0} for name in loss],
    )


def test_an_adapted_teacher_teaches_as_it_was_saved(stage, teacher_weights, monkeypatch):
    adapted = stage(
        make_job(method="linear_probe", model=model_job("test_resnet", weights=teacher_weights), model_kind="teacher")
    )
    finish(adapted)
    teachers = []
    real = train.load_frozen
    monkeypatch.setattr(train, "load_frozen", lambda *given: teachers.append(real(*given)) or teachers[-1])
    context = stage(distilling("linear_probe", ["ce", "kd", "srrl"]), needs={"teacher0": adapted.folder})
    record = finish(context)
    saved, used = loaded(adapted.folder.weights), teachers[0].state_dict()
    assert saved.keys() == used.keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in used.items())
    assert not any(part.training for part in teachers[0].modules())
    assert record["teachers"][0]["parameters"] == sum(tensor.numel() for tensor in teachers[0].parameters())
    assert set(record["curve"][0]) == {
        *("epoch", "loss", "train_accuracy", "ce", "kd"),
        *("srrl.feature", "srrl.softmax_regression"),
    }
    # The losses' parts are no part of the student.
    names = loaded(context.folder.weights)
    assert all(name in ("mean", "std") or name.startswith(("trunk.", "head.")) for name in names)


@pytest.mark.parametrize("loss", [["ce", "align_uniform"], ["ce", "at"]])
def test_how_a_teacher_is_run_does_not_depend_on_who_reads_its_maps(loss, stage, teacher_weights, monkeypatch):
    """Cells of a group share it, whichever of them comes first."""
    asked = []

    def stop(context, number, model, device, sample, maps=False):
        asked.append(maps)
        raise KilledError

    monkeypatch.setattr(train, "run_frozen", stop)
    with pytest.raises(KilledError):
        train.run(stage(distilling("pretrained", loss, teacher_weights)))
    assert asked == [True]


@pytest.mark.parametrize(("precision", "taken"), [("bf16", True), ("fp32", False)])
def test_a_precision_that_was_asked_for_is_taken_whatever_it_moves(precision, taken, stage, teacher_weights, tmp_path):
    how = ExecutionConfig(precision="bf16", channels_last=True, fold_bn=True)
    tuning = StageFolder(tmp_path / "tuning")
    tuning.path.mkdir()
    write_json(tuning.record, {"metrics": {"execution": how.as_json()}})
    job = distilling("pretrained", ["ce", "align_uniform"], teacher_weights)
    job["recipe"] |= {"precision": precision, "tolerance": 1e-9}
    context = stage(job, needs={"tuning.teacher0": tuning})
    model = load_frozen(context, 0, 10, torch.device("cpu"))
    network, report = run_frozen(context, 0, model, torch.device("cpu"), SplitData(context, torch.device("cpu")).train)
    assert (network.config == how) is taken
    assert (report["deviation"] > 1e-3) is taken
    assert bool(report["refused"]) is not taken


def test_a_teacher_as_pre_trained_has_no_head(stage, teacher_weights, monkeypatch):
    teachers = []
    real = train.load_frozen
    monkeypatch.setattr(train, "load_frozen", lambda *given: teachers.append(real(*given)) or teachers[-1])
    record = finish(stage(distilling("pretrained", ["ce", "align_uniform"], teacher_weights)))
    given = loaded(teacher_weights["file"])
    assert teachers[0].head is None
    assert all(torch.equal(tensor, given[name]) for name, tensor in teachers[0].trunk.state_dict().items())
    assert record["metrics"]["test_count"] == 1000


def test_arms_of_one_seed_start_from_the_same_student(stage, teacher_weights):
    """At a rate of next to nothing the weights are the initial ones."""
    still = {"lr": 1e-12, "weight_decay": 0.0, "epochs": 1}
    alone = stage(make_job(still))
    taught = stage(distilling("pretrained", ["ce", "align_uniform"], teacher_weights))
    taught.job["recipe"].update(still)
    for context in (alone, taught):
        finish(context)
    assert torch.equal(loaded(alone.folder.weights)["head.weight"], loaded(taught.folder.weights)["head.weight"])


@pytest.mark.parametrize("damage", ["a bit", "gone", "no record"])
def test_a_teacher_s_damaged_weights_are_refused(stage, damage):
    teacher = stage(make_job({"epochs": 1}, model=model_job("test_resnet"), model_kind="teacher"))
    finish(teacher)
    folder = teacher.folder
    if damage == "a bit":
        content = bytearray(folder.weights.read_bytes())
        content[-1] ^= 1
        folder.weights.write_bytes(content)
    elif damage == "gone":
        folder.weights.unlink()
    else:
        folder.record.unlink()
    with pytest.raises(StoreError) as caught:
        train.run(stage(distilling("scratch", ["ce", "kd"]), needs={"teacher0": folder}))
    assert str(caught.value) == f"{folder.weights} is missing or damaged; delete {folder.path} to train it again"


def test_weights_that_do_not_fit_are_refused(stage, teacher_weights):
    job = make_job(method="finetune", model=model_job("test_efficientnet", weights=teacher_weights))
    with pytest.raises(WeightsError, match=r"w\.safetensors does not fit the network: "):
        train.run(stage(job))


def test_the_subset_does_not_depend_on_the_training_seed(stage, monkeypatch):
    chosen = []

    def stop(*_given):
        raise KilledError

    real = feeding.make_loader
    monkeypatch.setattr(feeding, "make_loader", lambda *given: chosen.append(given[0].indices.tolist()) or real(*given))
    monkeypatch.setattr(train, "build_backbone", stop)
    for seed, subset in ((1, 0), (2, 0), (1, 1)):
        with pytest.raises(KilledError):
            train.run(stage(make_job(seed=seed, data={"subset_seed": subset})))
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
        "        found = [[tuple(each.shape[1:]) for each in side.features] for side in (student, teacher)]\n"
        "        assert tuple(found) == self.expected, (found, self.expected)\n"
        "        return {'maps': student.features[0].square().mean() * len(found[0])}\n\n\n"
        "@benchbench.hookimpl\n"
        "def benchbench_losses():\n"
        "    yield benchbench.Component('hint', f'{__name__}:Hint', needs=frozenset({'teacher', 'features'}))\n"
    )
    teacher = stage(make_job({"epochs": 1}, model=model_job("test_resnet"), model_kind="teacher"))
    finish(teacher)
    context = stage(
        distilling("scratch", ["ce", "hint"]),
        needs={"teacher0": teacher.folder},
        registry=load_plugins([file]).registry,
    )
    assert finish(context)["curve"][0]["hint.maps"] > 0


def test_choosing_by_validation_needs_an_image_to_hold_out(stage):
    job = make_job(data={"per_class": 1, "validation": 0.5}, selection="best")
    with pytest.raises(DataError, match="no class has an image to spare for validation"):
        train.run(stage(job))


def test_other_images_have_another_checksum(stage):
    one, same, other = (
        train.run(stage(make_job(data=data)))["data"]["sha256"] for data in ({}, {}, {"subset_seed": 1})
    )
    assert one == same != other
