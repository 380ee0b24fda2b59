"""The training stage with several teachers, with methods of two stages, and with heads that a method asks for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec, TeacherSpec
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.stages import train
from benchbench.stages.context import StageContext
from benchbench.store import StageFolder, file_sha256
from benchbench.training.checkpoints import Checkpoints
from tests.specs import data_spec, loss_spec, recipe_spec, training_record, training_spec
from tests.stages.contexts import finish, stage_context

pytestmark = pytest.mark.whole_run
PER_CLASS, SIDE, BATCH, EPOCHS, STEPS = 2, 16, 10, 2, 2
DEIT = ("deit_tiny_distilled_patch16_224", {"img_size": SIDE, "patch_size": 8, "embed_dim": 12, "num_heads": 3})
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
    """Four of the bundled images of each class, on every other pixel."""
    images = load(Cifar10SubsetParams(), Path(), split)
    chosen = np.concatenate([np.flatnonzero(images.labels == label)[:4] for label in range(10)])
    array = images.array[chosen, :: 32 // SIDE, :: 32 // SIDE]
    return ImageDataset(images.labels[chosen], images.classes, ArrayImages(array), array)


@pytest.fixture(autouse=True)
def _images_are_few(monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.load", lambda params, root, split: few(split))


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def model_spec(name: str, **params: Any) -> ModelSpec:
    return ModelSpec(source="timm", name=name, params=params)


class Teacher:
    """A network with random weights and batch statistics of its own, in a folder as a stage leaves it."""

    def __init__(self, name: str, seed: int, folder: Path, registry):
        self.model_spec = model_spec(name)
        torch.manual_seed(seed)
        self.model = build_backbone(self.model_spec, "teacher", registry, 10)
        self.model(torch.rand(8, 3, SIDE, SIDE))
        self.folder = StageFolder(folder)
        folder.mkdir(parents=True)
        safetensors.torch.save_file(self.model.state_dict(), self.folder.weights)
        self.folder.write_record(training_record(kind="teacher", weights_sha256=file_sha256(self.folder.weights)))

    def spec(self, weight: float = 1.0) -> TeacherSpec:
        return TeacherSpec(model=self.model_spec, state="scratch", weight=weight)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, registry) -> list[Teacher]:
    """Two of different widths."""
    folder = tmp_path_factory.mktemp("teachers")
    return [Teacher(name, seed, folder / name, registry) for seed, name in enumerate(("test_resnet", "test_byobnet"))]


def distilling(
    teachers: Sequence[TeacherSpec],
    losses: dict[str, dict[str, Any]],
    student: ModelSpec | None = None,
    epochs: int = EPOCHS,
) -> TrainingSpec:
    return training_spec(
        method="distill",
        seed=3,
        data_seed=3,
        data=data_spec(per_class=PER_CLASS),
        model=student or model_spec("test_efficientnet"),
        teachers=tuple(teachers),
        loss=tuple(loss_spec(name, **params) for name, params in losses.items()),
        recipe=recipe_spec(epochs=epochs, batch_size=BATCH, image_size=SIDE, lr=1e-2, precision="fp32"),
    )


@pytest.fixture
def stage(tmp_path, registry) -> Callable[..., StageContext]:
    """A stage in a new folder; all those folders have one name, by which a checkpoint knows its stage."""
    count = 0

    def make(spec: TrainingSpec, teachers: list[Teacher], **changes: Any) -> StageContext:
        nonlocal count
        count += 1
        needs = {f"teacher{index}": teacher.folder for index, teacher in enumerate(teachers)}
        folder, components = tmp_path / str(count) / "stage", changes.pop("registry", registry)
        context = stage_context(spec, folder, components, needs=needs, data_root=tmp_path / "data", **changes)
        context.folder.write_spec(spec)
        return context

    return make


@torch.no_grad()
def assert_it_comes_back(context: StageContext, record: TrainingRecord, plugins: tuple[Path, ...] = ()) -> Backbone:
    """The saved network, read back from its folder alone, predicts every test image as in the record."""
    model, classes = load_trained(context.folder.path, plugins)
    images = few("test")
    assert classes == images.classes
    pixels = torch.from_numpy(images.array.transpose(0, 3, 1, 2).copy()).float() / 255
    predicted = torch.cat([model(part).logits.argmax(1) for part in pixels.split(BATCH)])
    correct = predicted.numpy() == images.labels
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record.metrics.test_correct), np.uint8))[: len(correct)]
    assert correct.tolist() == bits.astype(bool).tolist()
    assert record.metrics.test_accuracy == correct.mean()
    saved = safetensors.torch.load_file(context.folder.weights)
    assert saved.keys() == model.state_dict().keys()
    assert record.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    return model


def test_two_teachers_of_different_widths(stage, teachers):
    spec = distilling([teacher.spec() for teacher in teachers], {"ce": {}, "kd": {}, "align_uniform": {}, "srrl": {}})
    context = stage(spec, teachers)
    result = finish(train, context)
    apart = ("align_uniform.align", "align_uniform.uniform", "srrl.feature", "srrl.softmax_regression")
    numbered = {f"{term} {number}" for term in apart for number in (1, 2)}
    assert set(result.curve[-1]) == {"epoch", "loss", "train_accuracy", "ce", "kd"} | numbered
    dims = [teacher.model.dim for teacher in teachers]
    assert [teacher.dim for teacher in result.record.teachers] == dims
    assert dims[0] != dims[1]
    sizes = [sum(parameter.numel() for parameter in teacher.model.parameters()) for teacher in teachers]
    assert [teacher.parameters for teacher in result.record.teachers] == sizes
    assert result.record.cost.images == EPOCHS * STEPS * BATCH
    assert_it_comes_back(context, result.record)


def test_each_teacher_s_weights_come_from_its_role(stage, teachers):
    """Each is known by the fingerprint that it has alone."""
    alone = [finish(train, stage(distilling([each.spec()], {"kd": {}}, epochs=1), [each])).record for each in teachers]
    both = finish(train, stage(distilling([each.spec() for each in teachers], {"kd": {}}, epochs=1), teachers)).record
    assert both.teachers == tuple(record.teachers[0] for record in alone)
    assert both.teachers[0].sha256 != both.teachers[1].sha256
    missing = stage(distilling([each.spec() for each in teachers], {"kd": {}}, epochs=1), teachers[:1])
    with pytest.raises(KeyError, match="teacher1"):
        train.run(missing)


def test_an_ensemble_of_equals_is_one_teacher(stage, teachers):
    """Half of either's logits is the logits: the same student to the last bit."""
    first = teachers[0]
    alone = finish(train, stage(distilling([first.spec()], {"ce": {}, "kd": {}}), [first]))
    twice = finish(train, stage(distilling([first.spec(), first.spec()], {"ce": {}, "kd": {}}), [first, first]))
    assert twice.record.weights_sha256 == alone.record.weights_sha256
    assert twice.curve == alone.curve
    assert len(twice.record.teachers) == 2


def test_weights_of_teachers_are_shares(stage, teachers):
    hashes = []
    for weights in ((1.0, 3.0), (2.0, 6.0), (3.0, 1.0)):
        specs = [teacher.spec(weight) for teacher, weight in zip(teachers, weights, strict=True)]
        hashes.append(finish(train, stage(distilling(specs, {"kd": {}}, epochs=1), teachers)).record.weights_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_replaced_head_comes_back(stage, teachers, tmp_path):
    file = tmp_path / "borrowed.py"
    file.write_text(PLUGIN)
    spec = distilling([teachers[0].spec()], {"ce": {}, "borrow": {"hidden": 6}})
    context = stage(spec, teachers[:1], registry=load_plugins([file]).registry)
    result = finish(train, context)
    model = assert_it_comes_back(context, result.record, plugins=(file,))
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
    spec = distilling([teacher.spec() for teacher in teachers], {"ce": {}, "borrow": {"hidden": 6}})
    with pytest.raises(StageError, match="loss 'borrow' makes the student's classifier for one teacher"):
        train.run(stage(spec, teachers, registry=load_plugins([file]).registry))


@pytest.mark.parametrize("count", [1, 2])
def test_a_token_s_head_trains_and_comes_back(stage, teachers, count, monkeypatch):
    initial = []
    real = train.add_student_heads

    def add(model, *args):
        real(model, *args)
        initial.append(model.token_head.weight.detach().clone())

    monkeypatch.setattr(train, "add_student_heads", add)
    spec = distilling(
        [each.spec() for each in teachers[:count]], {"ce": {}, "deit": {}}, model_spec(DEIT[0], **DEIT[1], depth=1)
    )
    context = stage(spec, teachers[:count])
    result = finish(train, context)
    model = assert_it_comes_back(context, result.record)
    assert not torch.allclose(model.token_head.weight, initial[0], atol=1e-3)
    assert set(result.curve[-1]) == {"epoch", "loss", "train_accuracy", "ce", "deit"}


METHODS: dict[str, tuple[str, dict[str, Any], int]] = {
    # Beside each method's parameters, the epochs of its first stage.
    "deit": (DEIT[0], {"kind": "soft", "temperature": 3.0}, 0),
    "simkd": ("test_efficientnet", {}, 0),
    "fsp": ("test_efficientnet", {"preparation": 0.75}, 2),
    "ft": ("test_efficientnet", {"preparation": 0.5}, 1),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_is_resumed_and_comes_back(name, stage, teachers, registry, monkeypatch):
    """Killed where the training begins, or behind its first epoch where there is no first stage."""
    network, params, preparation = METHODS[name]
    student = model_spec(network, **DEIT[1], depth=1) if network == DEIT[0] else model_spec(network)
    params = registry.get("loss", name).params(**params).model_dump(mode="json")
    spec = distilling([teachers[0].spec()], {"ce": {}, name: params}, student)
    real, files = Checkpoints.save, {}

    def save(self, state):
        real(self, state)
        files[state["epoch"], state["step"]] = self.folder.checkpoint.read_bytes()

    monkeypatch.setattr(Checkpoints, "save", save)
    context = stage(spec, teachers[:1], checkpoint_seconds=0)
    result = finish(train, context)
    assert [row["epoch"] for row in result.curve] == list(range(1 - preparation, EPOCHS + 1))
    assert result.record.cost.images == (preparation + EPOCHS) * STEPS * BATCH
    assert ("preparation" in result.record.cost.seconds) is (preparation > 0)
    assert_it_comes_back(context, result.record)

    resumed = stage(spec, teachers[:1])
    resumed.folder.checkpoint.write_bytes(files[0 if preparation else 1, 0])
    again = train.run(resumed)
    assert again.curve == result.curve
    for part in ("weights_sha256", "metrics", "teachers", "model"):
        assert getattr(again.record, part) == getattr(result.record, part)
