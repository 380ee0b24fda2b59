"""The training stage with several teachers, with methods of two stages, and with heads that a method asks for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from benchbench.data.images import ImageDataset
from benchbench.data.sources.bundled import Cifar10SubsetParams, load
from benchbench.data.sources.common import ArrayImages
from benchbench.errors import StageError, StoreError
from benchbench.export.load import load_trained
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plugins import load_plugins
from benchbench.stages import train
from benchbench.stages.context import StageContext
from benchbench.store import StageFolder, file_sha256, write_json
from benchbench.suite.schema import Recipe
from benchbench.training.checkpoints import Checkpoints

PER_CLASS, SIDE, BATCH, EPOCHS, STEPS = 2, 32, 10, 2, 2
DEIT = ("deit_tiny_distilled_patch16_224", {"img_size": 32, "patch_size": 16, "embed_dim": 12, "num_heads": 3})
PLUGIN = '''
from torch import nn
import torch.nn.functional as F

import benchbench
from benchbench.losses.base import Loss


class BorrowParams(benchbench.Params):
    hidden: int = 8


class Borrow(Loss):
    """The student's embedding goes to the teacher's width first, and then to the classes."""

    def __init__(self, context, hidden):
        super().__init__(context)
        assert context.student_head[-1].in_features == context.teacher_dim
        self.head = (context.student_head,)

    @staticmethod
    def make_head(student_dim, teacher_dim, classes, hidden):
        layers = [nn.Linear(student_dim, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, teacher_dim)]
        return nn.Sequential(*layers, nn.Linear(teacher_dim, classes))

    def forward(self, student, teacher, batch):
        return {"borrow": F.mse_loss(self.head[0][:-1](student.embedding), teacher.embedding)}


@benchbench.hookimpl
def benchbench_losses():
    yield benchbench.Component("borrow", f"{__name__}:Borrow", BorrowParams, needs=frozenset({"teacher"}))
'''


@functools.cache
def few(split: str) -> ImageDataset:
    """A tenth of a split of the bundled images."""
    images = load(Cifar10SubsetParams(), Path(), split)
    chosen = np.concatenate([np.flatnonzero(images.labels == number)[:10] for number in range(10)])
    return ImageDataset(images.labels[chosen], images.classes, ArrayImages(images.array[chosen]), images.array[chosen])


@pytest.fixture(autouse=True)
def _images_are_few(monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.load", lambda params, root, split: few(split))


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def model_job(name: str, **params: Any) -> dict[str, Any]:
    job = {"source": "timm", "name": name, "params": params, "weights": None}
    return job | {"mean": None, "std": None, "input_size": None}


class Teacher:
    """A network with random weights and batch statistics of its own, in a folder as a stage leaves it."""

    def __init__(self, name: str, seed: int, folder: Path, registry):
        self.job = model_job(name)
        torch.manual_seed(seed)
        self.model = build_backbone(self.job, "teacher", registry, 10)
        self.model(torch.rand(8, 3, SIDE, SIDE))
        self.folder = StageFolder(folder)
        folder.mkdir(parents=True)
        safetensors.torch.save_file(self.model.state_dict(), self.folder.weights)
        write_json(self.folder.record, {"weights_sha256": file_sha256(self.folder.weights)})

    def entry(self, weight: float = 1.0) -> dict[str, Any]:
        return {"model": self.job, "adapt": "scratch", "weight": weight}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, registry) -> list[Teacher]:
    """Two of different widths."""
    folder = tmp_path_factory.mktemp("teachers")
    return [Teacher(name, seed, folder / name, registry) for seed, name in enumerate(("test_resnet", "test_byobnet"))]


def make_job(teachers: list[dict[str, Any]], loss: dict[str, Any], student=None, **recipe: Any) -> dict[str, Any]:
    full = Recipe(**({"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "lr": 1e-2} | recipe))
    source = {"name": "cifar10_subset", "params": {}}
    return {
        "method": "distill",
        "seed": 3,
        "data_seed": 3,
        "view_seed": 0,
        "data": {"source": source, "fraction": None, "per_class": PER_CLASS, "subset_seed": 0, "validation": 0.0},
        "model": student or model_job("test_efficientnet"),
        "model_kind": "student",
        "teachers": teachers,
        "selection": "last",
        "loss": [{"name": name, "params": params, "weight": 1.0} for name, params in loss.items()],
        "recipe": full.model_dump(mode="json") | {"augment": []},
    }


@pytest.fixture
def stage(tmp_path, registry) -> Callable[..., StageContext]:
    """A stage in a new folder; all those folders have one name, by which a checkpoint knows its stage."""
    count = 0

    def make(job: dict[str, Any], teachers: list[Teacher], **changes: Any) -> StageContext:
        nonlocal count
        count += 1
        folder = StageFolder(tmp_path / str(count) / "stage")
        folder.path.mkdir(parents=True)
        write_json(folder.spec, {"job": job})
        context = StageContext(
            job=job,
            folder=folder,
            needs={f"teacher{number}": teacher.folder for number, teacher in enumerate(teachers)},
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


@torch.no_grad()
def assert_it_comes_back(context: StageContext, record: dict[str, Any], plugins: tuple[Path, ...] = ()) -> Backbone:
    """The saved network, read back by its folder alone, answers every test image as the record says."""
    model, classes = load_trained(context.folder.path, plugins)
    images = few("test")
    assert classes == images.classes
    pixels = torch.from_numpy(images.array.transpose(0, 3, 1, 2).copy()).float() / 255
    predicted = torch.cat([model(part).logits.argmax(1) for part in pixels.split(BATCH)])
    correct = predicted.numpy() == images.labels
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record["metrics"]["test_correct"]), np.uint8))[: len(correct)]
    assert correct.tolist() == bits.astype(bool).tolist()
    assert record["metrics"]["test_accuracy"] == correct.mean()
    saved = safetensors.torch.load_file(context.folder.weights)
    assert saved.keys() == model.state_dict().keys()
    assert record["model"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    return model


def test_two_teachers_of_different_widths(stage, teachers):
    job = make_job([teacher.entry() for teacher in teachers], {"ce": {}, "kd": {}, "align_uniform": {}, "srrl": {}})
    context = stage(job, teachers)
    record = finish(context)
    apart = ("align_uniform.align", "align_uniform.uniform", "srrl.feature", "srrl.softmax_regression")
    numbered = {f"{term} {number}" for term in apart for number in (1, 2)}
    assert set(record["curve"][-1]) == {"epoch", "loss", "train_accuracy", "ce", "kd"} | numbered
    dims = [teacher.model.dim for teacher in teachers]
    assert [found["dim"] for found in record["teachers"]] == dims
    assert dims[0] != dims[1]
    sizes = [sum(parameter.numel() for parameter in teacher.model.parameters()) for teacher in teachers]
    assert [found["parameters"] for found in record["teachers"]] == sizes
    assert record["cost"]["images"] == EPOCHS * STEPS * BATCH
    assert_it_comes_back(context, record)


def test_each_teacher_s_weights_come_from_its_role(stage, teachers):
    """Each is known by the fingerprint that it has alone."""
    alone = [finish(stage(make_job([each.entry()], {"kd": {}}, epochs=1), [each])) for each in teachers]
    both = finish(stage(make_job([each.entry() for each in teachers], {"kd": {}}, epochs=1), teachers))
    assert both["teachers"] == [record["teachers"][0] for record in alone]
    assert both["teachers"][0]["sha256"] != both["teachers"][1]["sha256"]
    missing = stage(make_job([each.entry() for each in teachers], {"kd": {}}, epochs=1), teachers[:1])
    with pytest.raises(KeyError, match="teacher1"):
        train.run(missing)


def test_an_ensemble_of_equals_is_one_teacher(stage, teachers):
    """Half of either's logits is the logits: the same student to the last bit."""
    first = teachers[0]
    alone = finish(stage(make_job([first.entry()], {"ce": {}, "kd": {}}), [first]))
    twice = finish(stage(make_job([first.entry(), first.entry()], {"ce": {}, "kd": {}}), [first, first]))
    assert twice["weights_sha256"] == alone["weights_sha256"]
    assert twice["curve"] == alone["curve"]
    assert len(twice["teachers"]) == 2


def test_weights_of_teachers_are_shares(stage, teachers):
    records = [
        finish(stage(make_job([teachers[0].entry(a), teachers[1].entry(b)], {"kd": {}}, epochs=1), teachers))
        for a, b in ((1.0, 3.0), (2.0, 6.0), (3.0, 1.0))
    ]
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"] != records[2]["weights_sha256"]


def test_a_replaced_head_comes_back(stage, teachers, tmp_path):
    file = tmp_path / "borrowed.py"
    file.write_text(PLUGIN)
    job = make_job([teachers[0].entry()], {"ce": {}, "borrow": {"hidden": 6}})
    context = stage(job, teachers[:1], registry=load_plugins([file]).registry)
    record = finish(context)
    model = assert_it_comes_back(context, record, plugins=(file,))
    assert [layer.out_features for layer in model.head if isinstance(layer, nn.Linear)] == [
        6,
        teachers[0].model.dim,
        10,
    ]
    assert int(model.head[1].num_batches_tracked) == 2 * EPOCHS * STEPS  # in the student's pass and in the loss
    with pytest.raises(StoreError, match=r"trained with a loss that no plugin offers here \(borrow\); name its plugin"):
        load_trained(context.folder.path)


def test_a_replaced_head_of_two_teachers_is_refused(stage, teachers, tmp_path):
    file = tmp_path / "borrowed.py"
    file.write_text(PLUGIN)
    job = make_job([teacher.entry() for teacher in teachers], {"ce": {}, "borrow": {"hidden": 6}})
    with pytest.raises(StageError, match="loss 'borrow' replaces the student's classifier"):
        train.run(stage(job, teachers, registry=load_plugins([file]).registry))


@pytest.mark.parametrize("count", [1, 2])
def test_a_token_s_head_trains_and_comes_back(stage, teachers, count, monkeypatch):
    initial = []
    real = train.add_student_heads

    def fit(model, *given):
        real(model, *given)
        initial.append(model.token_head.weight.detach().clone())

    monkeypatch.setattr(train, "add_student_heads", fit)
    job = make_job(
        [each.entry() for each in teachers[:count]], {"ce": {}, "deit": {}}, model_job(DEIT[0], **DEIT[1], depth=1)
    )
    context = stage(job, teachers[:count])
    record = finish(context)
    model = assert_it_comes_back(context, record)
    assert not torch.allclose(model.token_head.weight, initial[0], atol=1e-3)
    assert set(record["curve"][-1]) == {"epoch", "loss", "train_accuracy", "ce", "deit"}


METHODS: dict[str, tuple[str, dict[str, Any], int]] = {
    # Beside each method's parameters, the epochs of its first stage.
    "deit": (DEIT[0], {"kind": "soft", "temperature": 3.0}, 0),
    "simkd": ("test_efficientnet", {}, 0),
    "ab": ("test_efficientnet", {"preparation": 0.5}, 1),
    "fsp": ("test_efficientnet", {"preparation": 0.75}, 2),
    "ft": ("test_efficientnet", {"preparation": 0.5}, 1),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_is_resumed_and_comes_back(name, stage, teachers, registry, monkeypatch):
    """Killed where the training begins, or behind its first epoch where there is no first stage."""
    network, params, preparation = METHODS[name]
    student = model_job(network, **DEIT[1], depth=1) if network == DEIT[0] else model_job(network)
    params = registry.get("loss", name).params(**params).model_dump(mode="json")
    job = make_job([teachers[0].entry()], {"ce": {}, name: params}, student)
    real, kept = Checkpoints.save, {}

    def save(self, state):
        real(self, state)
        kept[state["epoch"], state["step"]] = self.folder.checkpoint.read_bytes()

    monkeypatch.setattr(Checkpoints, "save", save)
    context = stage(job, teachers[:1], checkpoint_seconds=0)
    record = finish(context)
    assert [row["epoch"] for row in record["curve"]] == list(range(1 - preparation, EPOCHS + 1))
    assert record["cost"]["images"] == (preparation + EPOCHS) * STEPS * BATCH
    assert ("preparation" in record["cost"]["seconds"]) is (preparation > 0)
    assert_it_comes_back(context, record)

    resumed = stage(job, teachers[:1])
    resumed.folder.checkpoint.write_bytes(kept[0 if preparation else 1, 0])
    again = train.run(resumed)
    for part in ("weights_sha256", "metrics", "curve", "teachers", "model"):
        assert again[part] == record[part]
