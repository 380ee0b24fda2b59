"""What frozen networks say of the views, kept and read again: a suite's own stages, run as a worker runs them."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from benchbench.data import in_memory, streaming
from benchbench.data.images import ImageDataset
from benchbench.data.sources.bundled import load
from benchbench.errors import StageError, StoreError
from benchbench.export.load import load_trained
from benchbench.plan.keys import unwrap
from benchbench.plan.model import Plan, Stage
from benchbench.plugins import load_plugins
from benchbench.stages import RUNNERS, outputs
from benchbench.stages import data as feeding
from benchbench.stages.context import StageContext
from benchbench.stages.data import SplitData
from benchbench.stages.networks import load_frozen
from benchbench.store import StageFolder, Store, write_json
from benchbench.training.cached_outputs import CachedOutputs
from benchbench.training.checkpoints import Checkpoints

CPU = torch.device("cpu")
SIDE, BATCH, EPOCHS, VIEWS, CHUNK = 32, 10, 3, 2, 16
TAUGHT = {"taught": {"method": "distill", "adapt": "pretrained", "loss": {"ce": 1, "align_uniform": 1}}}
TWICE = {"taught": {"method": "distill", "adapt": "scratch", "loss": {"ce": 1, "kd": 1, "align_uniform": 1}}}
PROBE = {"probe": {"method": "linear_probe"}}

decoded_once = functools.cache(load)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Images are decoded once for all tests, tested on are few, and there are several chunks."""

    def few_to_test_on(params, root, split):
        images = decoded_once(params, root, split)
        return (
            images
            if split == "train"
            else ImageDataset(images.labels[:70], images.classes, images.image, images.array[:70])
        )

    monkeypatch.setattr("benchbench.data.sources.bundled.load", few_to_test_on)
    for module in (in_memory, streaming, outputs):
        monkeypatch.setattr(module, "VIEW_CHUNK", CHUNK)
    feeding._loaded.cache_clear()
    yield
    feeding._loaded.cache_clear()


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


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path, weights) -> Callable[..., Plan]:
    def make(arms, *overrides: str, **recipe) -> Plan:
        teacher = {"model": "timm/test_resnet", "weights": {"file": str(weights["test_resnet"])}}
        full = {"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "precision": "exact", "views": VIEWS}
        full |= {"augment": {"flip": {}, "random_crop": {"padding": 4}}}
        path = tiny_suite(
            tmp_path / "suite",
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

    def folder(self, stage: Stage) -> StageFolder:
        return self.store.stage(stage.kind, stage.key)

    def context(self, plan: Plan, stage: Stage, without: str = "", seconds: float = 1e9) -> StageContext:
        folder = self.folder(stage)
        folder.path.mkdir(parents=True, exist_ok=True)
        needs = {role: plan.stages[key] for role, key in (*stage.needs.items(), *stage.after.items())}
        return StageContext(
            job=unwrap(json.loads(json.dumps(stage.job))),
            folder=folder,
            needs={
                role: self.folder(each) for role, each in needs.items() if not without or not role.startswith(without)
            },
            registry=self.registry,
            device="cpu",
            threads=1,
            held=1,
            unit="CPU-hours",
            data_root=self.root / "data",
            checkpoint_seconds=seconds,
            report=lambda progress: None,
        )

    def run(self, plan: Plan, stage: Stage, **options: Any) -> dict[str, Any]:
        context = self.context(plan, stage, **options)
        write_json(context.folder.spec, {"job": stage.job})
        record = importlib.import_module(RUNNERS[stage.kind]).run(context)
        write_json(context.folder.record, record)
        return record

    def up_to(self, plan: Plan, kind: str) -> list[Stage]:
        """Runs what stands before a kind of stage, and gives the stages of that kind."""
        before = {"outputs": ("teacher",), "cell": ("teacher", "outputs")}[kind]
        for stage in plan.stages.values():
            if stage.kind in before and self.folder(stage).done() is None:
                self.run(plan, stage)
        return [stage for stage in plan.stages.values() if stage.kind == kind]


@pytest.fixture
def shop(tmp_path) -> Workshop:
    return Workshop(tmp_path / "runs")


@pytest.mark.parametrize("data_seed", ["null", "7"])
def test_what_is_kept_is_the_network_s_on_the_images_that_are_shown(data_seed, planned, shop):
    """By hand, on the batches that a cell sees in each epoch."""
    plan = planned(TWICE, f"data_seed={data_seed}")
    (cell,) = shop.up_to(plan, "cell")
    context = shop.context(plan, cell)
    data = SplitData(context, CPU)
    teacher = load_frozen(context, 0, 10, CPU)
    taught = CachedOutputs(context.needs["outputs0"], CPU).teach()
    assert taught.embedding.shape == (VIEWS, 60, teacher.dim)
    for epoch in range(VIEWS + 1):
        for step, batch in enumerate(data.train.train_batches(context.job["data_seed"], epoch, BATCH, 0)):
            batch.epoch = epoch + step / 6
            with torch.no_grad():
                found, expected = taught(batch, False), teacher(batch.images)
            assert torch.allclose(found.logits, expected.logits, atol=1e-5)
            assert torch.allclose(found.embedding, expected.embedding, atol=1e-5)
    assert expected.embedding.std(0).mean() > 0.01  # the images are told apart
    assert not torch.allclose(taught.embedding[0], taught.embedding[1], atol=1e-3)


@torch.no_grad()
def test_every_split_of_a_probe_is_kept_bit_for_bit(planned, shop):
    plan = planned(PROBE, "selection={rule: best, validation: 0.25}")
    (stage,) = shop.up_to(plan, "outputs")
    record, context = shop.run(plan, stage), shop.context(plan, stage)
    data, model = SplitData(context, CPU), load_frozen(context, 0, 10, CPU)
    kept = CachedOutputs(context.folder, CPU)
    names = {f"{split}.{part}" for split in ("train", "validation", "test") for part in ("embedding", "labels")}
    assert set(record["outputs"]["sha256"]) == names
    assert kept.tensor("train.logits") is None
    place = 0
    for views in data.train.view_batches(BATCH, 0):
        rows = slice(place, place := place + len(views[0].index))
        for view, batch in enumerate(views):
            assert torch.equal(kept.tensor("train.embedding")[view, rows], model(batch.images).embedding)
    for split, loader in (("validation", data.validation), ("test", data.test())):
        said = torch.cat([model(batch.images).embedding for batch in loader.test_batches(BATCH)])
        assert torch.equal(kept.tensor(f"{split}.embedding"), said)
        assert torch.equal(kept.tensor(f"{split}.labels"), loader.labels)
    assert torch.equal(kept.tensor("train.labels"), data.train.labels)
    assert record["metrics"] == {"images": len(data.train.labels), "views": VIEWS}
    assert record["outputs"]["bytes"] == sum(path.stat().st_size for path in context.folder.outputs.iterdir())
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_cell_on_kept_outputs_is_one_on_a_live_teacher(planned, shop, tmp_path):
    plan = planned(TWICE, "data_seed=7")
    (cell,) = shop.up_to(plan, "cell")
    kept = shop.run(plan, cell)
    found = safetensors.torch.load_file(shop.folder(cell).weights)
    live = shop.run(plan, cell, without="outputs")
    expected = safetensors.torch.load_file(shop.folder(cell).weights)
    assert kept["execution"]["teacher0"] == "kept outputs"
    assert live["execution"]["teacher0"]["precision"] == "fp32"
    assert kept["metrics"]["test_accuracy"] == live["metrics"]["test_accuracy"]
    for row, other in zip(kept["curve"], live["curve"], strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    moved = 0.0
    for name, tensor in expected.items():
        assert torch.allclose(found[name].double(), tensor.double(), rtol=1e-3, atol=1e-4), name
        moved += float(tensor.double().norm())
    assert moved > 0
    assert kept["teachers"] == live["teachers"]


class KilledError(Exception):
    pass


@pytest.mark.parametrize("arms", [TAUGHT, PROBE], ids=["teacher", "probe"])
def test_killed_and_started_again_it_leaves_the_same_files(arms, planned, shop, tmp_path, monkeypatch):
    plan = planned(arms, "selection={rule: best, validation: 0.2}")
    (stage,) = shop.up_to(plan, "outputs")
    expected = shop.run(plan, stage)["outputs"]
    real, left = Checkpoints.save, itertools.count(10**6, -1)
    places = []

    def save(self, state):
        real(self, state)
        places.append((state["split"], state["done"]))
        if next(left) == 0:
            raise KilledError

    monkeypatch.setattr(Checkpoints, "save", save)
    Workshop(tmp_path / "counted").run(plan, stage, seconds=0)
    saves = list(places)
    assert ("train", CHUNK) in saves
    assert any(split == "test" for split, _ in saves) == (arms is PROBE)
    for number in range(0, len(saves), 3):
        other = Workshop(tmp_path / f"killed{number}")
        left = itertools.count(number, -1)
        with pytest.raises(KilledError):
            other.run(plan, stage, seconds=0)
        # What had been written after the checkpoint may be anything.
        split, done = saves[number]
        for path in other.folder(stage).outputs.glob(f"{split}.*.npy"):
            array = np.lib.format.open_memmap(path, mode="r+")
            (array[:, done:] if array.ndim == 3 else array[done:])[:] = 0
            array.flush()
        left, places = itertools.count(10**6, -1), []
        assert other.run(plan, stage, seconds=0)["outputs"] == expected
        assert places == saves[number + 1 :]


@pytest.mark.parametrize("damage", ["a bit", "gone", "cut", "no record"])
def test_damage_is_refused(damage, planned, shop):
    plan = planned(TAUGHT)
    (cell,) = shop.up_to(plan, "cell")
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
        assert str(caught.value) == f"{folder.path} holds no finished stage; run the suite again"
    else:
        assert str(caught.value) == f"{file} is missing or damaged; delete {folder.path} to compute it again"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("exact", np.float32), ("fp32", np.float32), ("auto", np.float16), ("bf16", np.float16)]
)
def test_half_precision_is_for_recipes_that_allow_it(precision, dtype, planned, shop):
    plan = planned(TAUGHT, channels_last=False, fold_bn=False, compile=False, precision=precision)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "outputs")
    record = shop.run(plan, stage)  # without its tuning: as the recipe fixes it
    array = np.load(shop.folder(stage).outputs / "train.embedding.npy")
    assert array.dtype == dtype
    assert np.isfinite(array).all()
    kept = CachedOutputs(shop.folder(stage), CPU)
    assert kept.teach().embedding.numpy().dtype == dtype
    assert record["outputs"]["views"] == len(array) == VIEWS


@pytest.mark.parametrize(("added", "precision"), [(float("nan"), "exact"), (float("inf"), "fp32"), (1e6, "auto")])
def test_outputs_that_are_not_finite_are_refused(added, precision, planned, shop, weights, tmp_path):
    tensors = safetensors.torch.load_file(weights["test_resnet"])
    last = [name for name in tensors if name.endswith("bn2.bias")][-1]
    tensors[last] = tensors[last] + added
    safetensors.torch.save_file(tensors, tmp_path / "broken.safetensors")
    file = f"teachers.big.weights={{file: {tmp_path / 'broken.safetensors'}}}"
    plan = planned(TAUGHT, file, channels_last=False, fold_bn=False, compile=False, precision=precision)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "outputs")
    with pytest.raises(StageError) as caught:
        shop.run(plan, stage)
    hint = "; set `precision: fp32`, which keeps them in full" if precision == "auto" else ""
    assert str(caught.value) == f"the embedding of image 0 or one after it are not finite{hint}"
    assert shop.folder(stage).done() is None


def test_a_probe_never_looks_at_an_image(planned, shop, monkeypatch):
    plan = planned(PROBE, "selection={rule: best, validation: 0.2}")
    (cell,) = shop.up_to(plan, "cell")

    def no_images(*_given):
        raise AssertionError("an image was asked for")

    feeding._loaded.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("benchbench.data.sources.bundled.load", no_images)
        patch.setattr(feeding, "_loaded", no_images)
        record = shop.run(plan, cell)
    folder = shop.folder(cell)
    model, classes = load_trained(folder.path)
    data = SplitData(shop.context(plan, next(s for s in plan.stages.values() if s.kind == "outputs")), CPU)
    with torch.no_grad():
        right = [model(batch.images).logits.argmax(1) == batch.labels for batch in data.test().test_batches(BATCH)]
    assert torch.cat(right).double().mean().item() == record["metrics"]["test_accuracy"]
    assert classes == data.classes
    assert record["metrics"]["test_count"] == 70
    assert record["data"]["names"] == list(classes)
    assert record["metrics"]["validation_accuracy"] is not None
    assert len(record["curve"]) == EPOCHS
    # The trunk is the one that was given, and the head has learnt.
    given = safetensors.torch.load_file(folder.weights)
    assert record["model"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert all(torch.equal(tensor, given[name]) for name, tensor in model.state_dict().items())
    assert record["curve"][-1]["ce"] < record["curve"][0]["ce"]
