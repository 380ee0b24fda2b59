"""Frozen networks' outputs on the views, cached and read again: a suite's own stages, run as a worker runs them."""

from __future__ import annotations

import importlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from benchbench.data import in_memory, streaming
from benchbench.data.images import ImageDataset
from benchbench.data.sources import bundled
from benchbench.data.sources.common import ArrayImages
from benchbench.errors import StageError, StoreError
from benchbench.export.load import load_trained
from benchbench.planning.model import Plan, Stage
from benchbench.plugins import load_plugins
from benchbench.specs.records import CachedFiles, OutputsMetrics
from benchbench.stages import RUNNERS, outputs
from benchbench.stages import data as stage_data
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import SplitData
from benchbench.stages.networks import load_frozen
from benchbench.store import StageFolder, Store
from benchbench.training.cached_outputs import CachedOutputs
from benchbench.training.checkpoints import Checkpoints
from tests.stages.contexts import finish, stage_context

pytestmark = pytest.mark.whole_run
CPU = torch.device("cpu")
SIDE, BATCH, EPOCHS, VIEWS, CHUNK, TEST_IMAGES = 16, 10, 3, 2, 16, 25
PLAIN = {"distilled": {"method": "distill", "adapt": "pretrained", "loss": {"ce": 1, "align_uniform": 1}}}
ADAPTED = {"distilled": {"method": "distill", "adapt": "scratch", "loss": {"ce": 1, "kd": 1, "align_uniform": 1}}}
PROBE = {"probe": {"method": "linear_probe"}}

SEEDED = "data_seed=7"


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Test images are few, and there are several chunks."""
    load = bundled.load

    def few_to_test_on(params, root, split):
        images = load(params, root, split)
        if split == "train":
            return images
        labels, array = images.labels[::40], images.array[::40]
        return ImageDataset(labels, images.classes, ArrayImages(array), array)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "load", few_to_test_on)
        for module in (in_memory, streaming, outputs):
            patch.setattr(module, "VIEW_CHUNK", CHUNK)
        stage_data._loaded.cache_clear()
        yield
        stage_data._loaded.cache_clear()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Weights of both networks, with batch statistics of their own."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(5)
    for name in ("test_efficientnet", "test_resnet"):
        network = timm.create_model(name)
        for _ in range(5):
            network(torch.rand(16, 3, SIDE, SIDE) * torch.rand(16, 3, 1, 1))
        safetensors.torch.save_file(network.state_dict(), folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in ("test_efficientnet", "test_resnet")}


@pytest.fixture(scope="module")
def planned(tiny_suite, plan_of, tmp_path_factory, weights) -> Callable[..., Plan]:
    def make(arms, *overrides: str, **recipe) -> Plan:
        teacher = {"model": "timm/test_resnet", "weights": {"file": str(weights["test_resnet"])}}
        full = {"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "precision": "exact", "views": VIEWS}
        full |= {"augment": {"flip": {}, "random_crop": {"padding": 4}}}
        path = tiny_suite(
            tmp_path_factory.mktemp("suite"),
            seeds=[0],
            data={"cifar": {"source": "cifar10_subset", "per_class": 6}},
            students={
                "small": {"model": "timm/test_efficientnet", "weights": {"file": str(weights["test_efficientnet"])}}
            },
            teachers={"big": {**teacher, "adapt": {"pretrained": {}, "scratch": {"epochs": 1}}}},
            recipes={"default": full | recipe},
            arms=arms,
        )
        return plan_of(path, *overrides)

    return make


class Workshop:
    """Runs a plan's stages in this process, in one store."""

    def __init__(self, root: Path):
        self.root, self.store, self.registry = root, Store(root), load_plugins().registry
        self.store.open()

    def copy(self, root: Path) -> Workshop:
        shutil.copytree(self.root, root)
        return Workshop(root)

    def folder(self, stage: Stage) -> StageFolder:
        return self.store.stage(stage.kind, stage.key)

    def context(self, plan: Plan, stage: Stage, without: str = "", seconds: float = 1e9) -> StageContext:
        """`without`: beginning of the roles whose stages it does without."""
        needs = {
            role: self.folder(plan.stages[key])
            for role, key in (*stage.needs.items(), *stage.soft_needs.items())
            if not without or not role.startswith(without)
        }
        folder, changes = self.folder(stage).path, {"data_root": self.root / "data", "checkpoint_seconds": seconds}
        return stage_context(stage.spec, folder, self.registry, needs=needs, **changes)

    def run(self, plan: Plan, stage: Stage, **options: Any) -> StageResult:
        context = self.context(plan, stage, **options)
        context.folder.write_spec(stage.spec)
        return finish(importlib.import_module(RUNNERS[stage.kind]), context)

    def up_to(self, plan: Plan, kind: str) -> list[Stage]:
        """Runs what a kind of stage needs, and gives the stages of that kind."""
        before = {"outputs": ("teacher",), "cell": ("teacher", "outputs")}[kind]
        for stage in plan.stages.values():
            if stage.kind in before and self.folder(stage).done() is None:
                self.run(plan, stage)
        return [stage for stage in plan.stages.values() if stage.kind == kind]


@pytest.fixture
def shop(tmp_path) -> Workshop:
    return Workshop(tmp_path / "runs")


@pytest.fixture(scope="module")
def before_cells(planned, tmp_path_factory) -> Callable[..., tuple[Plan, Stage, Workshop]]:
    """A suite's plan, its cell, and a store with all that the cell needs; tests that change the store copy it."""
    ready: dict[tuple[str, ...], tuple[Plan, Stage, Workshop]] = {}

    def of(arms: dict[str, Any], *overrides: str) -> tuple[Plan, Stage, Workshop]:
        key = (str(arms), *overrides)
        if key not in ready:
            shop, plan = Workshop(tmp_path_factory.mktemp("before") / "runs"), planned(arms, *overrides)
            (cell,) = shop.up_to(plan, "cell")
            ready[key] = plan, cell, shop
        return ready[key]

    return of


@pytest.mark.parametrize("data_seed", ["data_seed=null", SEEDED])
def test_cached_outputs_are_the_network_s_on_the_images_of_the_epoch(data_seed, before_cells):
    """By hand, on the batches that a cell sees in each epoch."""
    plan, cell, shop = before_cells(ADAPTED, data_seed)
    context = shop.context(plan, cell)
    data = SplitData(context)
    network = load_frozen(context, context.spec.teachers[0], 0, 10)
    teacher = CachedOutputs(context.needs["outputs0"], CPU).teacher()
    assert teacher.embedding.shape == (VIEWS, 60, network.dim)
    for epoch in range(VIEWS + 1):
        for step, batch in enumerate(data.train.train_batches(context.spec.data_seed, epoch, BATCH, 0)):
            batch.epoch = epoch + step / 6
            with torch.no_grad():
                outputs, expected = teacher(batch, False), network(batch.images)
            assert torch.allclose(outputs.logits, expected.logits, atol=1e-5)
            assert torch.allclose(outputs.embedding, expected.embedding, atol=1e-5)
    assert expected.embedding.std(0).mean() > 0.01  # the images differ
    assert not torch.allclose(teacher.embedding[0], teacher.embedding[1], atol=1e-3)


@torch.no_grad()
def test_every_split_of_a_probe_is_cached_bit_for_bit(planned, shop):
    plan = planned(PROBE, "selection={rule: best, validation: 0.25}")
    (stage,) = shop.up_to(plan, "outputs")
    record, context = shop.run(plan, stage).record, shop.context(plan, stage)
    data, model = SplitData(context), load_frozen(context, context.spec.network, 0, 10)
    cached = CachedOutputs(context.folder, CPU)
    names = {f"{split}.{part}" for split in ("train", "validation", "test") for part in ("embedding", "labels")}
    assert set(record.outputs.sha256) == names
    assert cached.tensor("train.logits") is None
    start = 0
    for views in data.train.view_batches(BATCH, 0):
        rows = slice(start, start := start + len(views[0].index))
        for view, batch in enumerate(views):
            assert torch.equal(cached.tensor("train.embedding")[view, rows], model(batch.images).embedding)
    for split, loader in (("validation", data.validation), ("test", data.test())):
        embedding = torch.cat([model(batch.images).embedding for batch in loader.test_batches(BATCH)])
        assert torch.equal(cached.tensor(f"{split}.embedding"), embedding)
        assert torch.equal(cached.tensor(f"{split}.labels"), loader.labels)
    assert torch.equal(cached.tensor("train.labels"), data.train.labels)
    assert record.metrics == OutputsMetrics(images=len(data.train.labels), views=VIEWS)
    assert record.outputs.bytes == sum(path.stat().st_size for path in context.folder.outputs.iterdir())
    assert context.folder.done() == record


def test_a_cell_on_cached_outputs_is_one_on_a_live_teacher(before_cells, tmp_path):
    plan, cell, finished = before_cells(ADAPTED, SEEDED)
    shop = finished.copy(tmp_path / "runs")
    cached = shop.run(plan, cell)
    weights = safetensors.torch.load_file(shop.folder(cell).weights)
    live = shop.run(plan, cell, without="outputs")
    expected = safetensors.torch.load_file(shop.folder(cell).weights)
    assert cached.record.execution["teacher0"] == "cached outputs"
    assert live.record.execution["teacher0"].precision == "fp32"
    assert cached.record.metrics.test_accuracy == live.record.metrics.test_accuracy
    for row, other in zip(cached.curve, live.curve, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    norm = 0.0
    for name, tensor in expected.items():
        assert torch.allclose(weights[name].double(), tensor.double(), rtol=1e-3, atol=1e-4), name
        norm += float(tensor.double().norm())
    assert norm > 0
    assert cached.record.teachers == live.record.teachers


class KilledError(Exception):
    pass


@pytest.mark.parametrize("arms", [PLAIN, PROBE], ids=["teacher", "probe"])
def test_killed_and_started_again_it_leaves_the_same_files(arms, planned, shop, tmp_path, monkeypatch):
    plan = planned(arms, "selection={rule: best, validation: 0.2}")
    (stage,) = shop.up_to(plan, "outputs")
    expected = shop.run(plan, stage).record.outputs
    real, left = Checkpoints.save, itertools.count(10**6, -1)
    saves = []

    def save(self, state):
        real(self, state)
        saves.append((state["split"], state["done"]))
        if next(left) == 0:
            raise KilledError

    monkeypatch.setattr(Checkpoints, "save", save)
    Workshop(tmp_path / "counted").run(plan, stage, seconds=0)
    all_saves = list(saves)
    assert ("train", CHUNK) in all_saves
    assert any(split == "test" for split, _ in all_saves) == (arms is PROBE)
    for index in range(0, len(all_saves), 3):
        other = Workshop(tmp_path / f"killed{index}")
        left = itertools.count(index, -1)
        with pytest.raises(KilledError):
            other.run(plan, stage, seconds=0)
        # Values written after the checkpoint may be anything.
        split, done = all_saves[index]
        for path in other.folder(stage).outputs.glob(f"{split}.*.npy"):
            array = np.lib.format.open_memmap(path, mode="r+")
            (array[:, done:] if array.ndim == 3 else array[done:])[:] = 0
            array.flush()
        left, saves = itertools.count(10**6, -1), []
        assert other.run(plan, stage, seconds=0).record.outputs == expected
        assert saves == all_saves[index + 1 :]


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.fixture(scope="module")
def unfinished(planned, tmp_path_factory) -> tuple[Plan, Stage, Workshop, CachedFiles]:
    """Outputs for a probe, killed in the test split, in a store to copy; and the files that they should end with."""
    plan, folder, real = planned(PROBE), tmp_path_factory.mktemp("unfinished"), Checkpoints.save
    whole, killed = Workshop(folder / "whole"), Workshop(folder / "killed")
    (stage,) = whole.up_to(plan, "outputs")
    expected = whole.run(plan, stage).record.outputs

    def save(self, state):
        real(self, state)
        if state["split"] == "test":
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save)
        with pytest.raises(KilledError):
            killed.run(plan, stage, seconds=0)
    return plan, stage, killed, expected


@pytest.mark.parametrize("damage", [empty, cut, Path.unlink])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_damaged_file_of_an_unfinished_stage_is_made_again(damage, split, unfinished, tmp_path):
    """The split that was being run, and one that was done."""
    plan, stage, killed, expected = unfinished
    shop = killed.copy(tmp_path / "runs")
    damage(shop.folder(stage).outputs / f"{split}.embedding.npy")
    assert shop.run(plan, stage).record.outputs == expected


@pytest.mark.parametrize("damage", ["a bit", "gone", "cut", "no record"])
def test_damage_is_refused(damage, before_cells, tmp_path):
    plan, cell, finished = before_cells(PLAIN)
    shop = finished.copy(tmp_path / "runs")
    folder = shop.folder(next(stage for stage in plan.stages.values() if stage.kind == "outputs"))
    file = folder.outputs / "train.embedding.npy"
    if damage == "a bit":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        folder.record.unlink()
    with pytest.raises(StoreError) as caught:
        shop.run(plan, cell)
    if damage == "no record":
        assert str(caught.value) == f"{folder.path} holds no finished stage of outputs; run the suite again"
    else:
        assert str(caught.value) == f"{file} is missing or damaged; delete {folder.path} to compute it again"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("exact", np.float32), ("fp32", np.float32), ("auto", np.float16), ("bf16", np.float16)]
)
def test_half_precision_is_for_recipes_that_allow_it(precision, dtype, planned, shop):
    plan = planned(PLAIN, channels_last=False, fold_bn=False, compile=False, precision=precision)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "outputs")
    record = shop.run(plan, stage).record  # without its tuning: as the recipe fixes it
    array = np.load(shop.folder(stage).outputs / "train.embedding.npy")
    assert array.dtype == dtype
    assert np.isfinite(array).all()
    assert CachedOutputs(shop.folder(stage), CPU).teacher().embedding.numpy().dtype == dtype
    assert record.outputs.views == len(array) == VIEWS


@pytest.mark.parametrize(("added", "precision"), [(3e38, "exact"), (3e38, "fp32"), (1e6, "auto")])
def test_outputs_that_are_not_finite_are_refused(added, precision, planned, shop, weights, tmp_path):
    tensors = safetensors.torch.load_file(weights["test_resnet"])
    biases = [name for name in tensors if name.startswith("layer4") and name.endswith(".bias")]
    last = [name for name in tensors if name.endswith("bn2.bias")][-1]
    for name in biases if precision != "auto" else [last]:  # finite, as weights have to be; their sum is not
        tensors[name] = tensors[name] + added
    safetensors.torch.save_file(tensors, tmp_path / "broken.safetensors")
    file = f"teachers.big.weights={{file: {tmp_path / 'broken.safetensors'}}}"
    plan = planned(PLAIN, file, channels_last=False, fold_bn=False, compile=False, precision=precision)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "outputs")
    with pytest.raises(StageError) as caught:
        shop.run(plan, stage)
    if precision == "auto":
        hint = "set `precision: fp32`, which keeps them in full"
        expected = f"the embedding of {BATCH} of {BATCH} images (the first is number 0) are not finite; {hint}"
    else:
        expected = (
            "teacher 1 (timm/test_resnet) gives outputs that are not finite on 16 of 16 images (number 0, 1, 2, 3, 4, "
            "...); check its weights, and the mean and std that it takes images by"
        )
    assert str(caught.value) == expected
    assert shop.folder(stage).done() is None


def test_a_probe_never_looks_at_an_image(planned, shop, monkeypatch):
    epochs = 12  # of 48 images, so that the loss falls by more than from one view to another
    plan = planned(PROBE, "selection={rule: best, validation: 0.2}", epochs=epochs, lr=0.01)
    (cell,) = shop.up_to(plan, "cell")

    def no_images(*_args):
        raise AssertionError("images are loaded")

    stage_data._loaded.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("benchbench.data.sources.bundled.load", no_images)
        patch.setattr(stage_data, "_loaded", no_images)
        result = shop.run(plan, cell)
    record = result.record
    folder = shop.folder(cell)
    model, classes = load_trained(folder.path)
    data = SplitData(shop.context(plan, next(s for s in plan.stages.values() if s.kind == "outputs")))
    with torch.no_grad():
        right = [model(batch.images).logits.argmax(1) == batch.labels for batch in data.test().test_batches(BATCH)]
    assert torch.cat(right).double().mean().item() == record.metrics.test_accuracy
    assert classes == data.classes
    assert record.metrics.test_count == TEST_IMAGES
    assert record.data.names == classes
    assert record.metrics.validation_accuracy is not None
    assert len(result.curve) == epochs
    # The trunk is as it was, and the head has learnt.
    saved = safetensors.torch.load_file(folder.weights)
    assert record.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())
    assert result.curve[-1]["ce"] < result.curve[0]["ce"]
