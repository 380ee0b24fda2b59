"""The loop: resuming bit for bit, frozen parts, the chosen epoch, the ledger, precision."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.augmenters.mixing import mixup
from benchbench.components import Component, Offer
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.transforms import Transform, bind_augmenters, bind_mixers
from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.store import StageFolder
from benchbench.suite.schema import Recipe
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.loop import Training, correct_by_example
from tests.training.small import (
    BATCH,
    CLASSES,
    CPU,
    CRD,
    EPOCHS,
    SIDE,
    SIMCLR,
    EveryStep,
    Passing,
    assert_same_end,
    coloured,
    same,
    snapshot,
)

TRAIN, HELD = np.arange(22), np.arange(22, 40)  # 5 steps an epoch, and 2 images that sit out
STEPS = 5
FUNCTIONS = {"flip": flip, "random_crop": random_crop, "mixup": mixup}


def ruined(student, teacher, batch):
    """A loss with one term that is not finite."""
    return {"fine": student.logits.square().mean(), "boom": student.logits.mean() * float("nan")}


@pytest.fixture(scope="module")
def registry():
    found = load_plugins().registry
    found.add(Offer("loss", Component("ruined", f"{__name__}:ruined"), "here"))
    return found


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return coloured(40)


def network(seed: int, width: int = 6, dropout: float = 0.0, classes: int | None = CLASSES) -> Backbone:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout))
    return Backbone(Trunk(module, width, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), classes)


def teacher_network() -> Backbone:
    """Frozen, with batch statistics that are not the usual zeros and ones."""
    teacher = network(77, width=9, dropout=0.5)
    for _ in range(3):
        teacher(torch.rand(4, 3, SIDE, SIDE))
    return teacher.freeze()


@pytest.fixture
def make(registry, images, tmp_path):
    """Training runs of a small network; parts of two runs have nothing in common but the data and the teacher."""

    def training(
        losses=("ce",), start=0, seed=1, dropout=0.0, best=False, linear_probe=False, mix=(), checkpoints=None, **recipe
    ) -> Training:
        entries = [
            entry if isinstance(entry, dict) else {"name": entry, "params": {}, "weight": 1.0} for entry in losses
        ]
        full = Recipe(**({"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "lr": 0.02} | recipe))
        full = full.model_dump(mode="json")
        full["augment"] = [
            {"name": "flip", "params": {"probability": 0.5}},
            {"name": "random_crop", "params": {"padding": 1, "resize": None}},
        ]
        full["mix"] = [{"name": name, "params": {"alpha": 1.0, "probability": 0.8}} for name in mix]
        load = FUNCTIONS.__getitem__
        pipeline = Transform(SIDE, None, bind_augmenters(full, load), bind_mixers(full, load))
        model = network(start, dropout=dropout)
        if linear_probe:
            model.freeze(head=False)
        needs = set().union(*(registry.get("loss", entry["name"]).needs for entry in entries))
        teacher = teacher_network() if needs & {"teacher", "teacher.logits"} else None
        context = LossContext(
            classes=CLASSES,
            student_dim=model.dim,
            student_head=model.head,
            teacher_dim=teacher.dim if teacher else None,
            teacher_head=teacher.head if teacher else None,
            labels=torch.from_numpy(images.labels[TRAIN]),
            epochs=full["epochs"],
            device=CPU,
        )
        torch.manual_seed(start + 1000)
        return Training(
            model=model,
            teachers=[teacher] if teacher else [],
            losses=MultiTeacherLoss(entries, registry, [context], [1.0] if teacher else []),
            train=InMemoryLoader(ImageSubset(images, TRAIN), pipeline, CPU),
            validation=InMemoryLoader(ImageSubset(images, HELD), pipeline, CPU),
            recipe=full,
            seed=seed,
            best=best,
            device=CPU,
            checkpoints=checkpoints or Checkpoints(StageFolder(tmp_path), 1e9),
            report=lambda progress: None,
        )

    return training


RESUMED = {
    "scratch": {"losses": ["ce"], "dropout": 0.5},
    "linear probe": {"losses": ["ce"], "linear_probe": True, "optimizer": "sgd"},
    "projectors": {"losses": ["ce", SIMCLR, "kd"], "dropout": 0.5, "best": True, "schedule": "cosine"},
    "memory bank": {
        "losses": ["ce", CRD],
        "optimizer": "sgd",
        "schedule": "step",
        "milestones": [1],
        "warmup_epochs": 1,
    },
    "mixed images": {"losses": ["ce", "kd"], "mix": ["mixup"]},
    "srrl, bf16": {"losses": ["ce", "srrl"], "dropout": 0.2, "precision": "bf16", "best": True},
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_resumed_at_any_step_ends_bit_for_bit_the_same(case, make, tmp_path):
    options = RESUMED[case]
    undisturbed = make(**options)
    undisturbed.run(None)
    kept = EveryStep(StageFolder(tmp_path))
    saving = make(**options, checkpoints=kept)
    saving.run(None)
    assert_same_end(saving, undisturbed)  # saving changes nothing
    assert len(kept.kept) == EPOCHS * (STEPS + 1)
    for number, content in enumerate(kept.kept.values()):
        folder = StageFolder(tmp_path / str(number) / tmp_path.name)  # a stage is known by its folder
        folder.path.mkdir(parents=True)
        folder.checkpoint.write_bytes(content)
        checkpoints = Checkpoints(folder, 1e9)
        # Other initial weights, projectors and random state: all that counts is in the checkpoint.
        resumed = make(**options, start=5 + number, checkpoints=checkpoints)
        torch.manual_seed(number)
        resumed.run(checkpoints.load())
        assert_same_end(resumed, undisturbed)


def test_a_run_is_its_seed_s(make):
    runs = [make(dropout=0.5, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        torch.seed()
        run.run(None)
    assert same(runs[0].model.state_dict(), runs[1].model.state_dict())
    assert runs[0].curve == runs[1].curve
    assert not same(runs[0].model.state_dict(), runs[2].model.state_dict())


def test_dropout_differs_from_step_to_step(make):
    """The global generator is seeded at every step, but not the same."""
    run, masks = make(dropout=0.5, epochs=2), []
    run.model.trunk[5].register_forward_hook(lambda part, given, out: masks.append((out == 0) & (given[0] != 0)))
    run.run(None)
    training = [mask.numpy().tobytes() for mask in masks if mask.any()]
    assert len(training) == len(set(training)) == 2 * STEPS


TAUGHT = ["align_uniform", CRD, "kd", "srrl"]


@pytest.mark.parametrize(
    "losses",
    [list(chosen) for count in range(1, 5) for chosen in itertools.combinations(TAUGHT, count)],
    ids=lambda chosen: "+".join(each if isinstance(each, str) else each["name"] for each in chosen),
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_teacher_stays_as_it_is(losses, precision, make):
    run = make(["ce", *losses], epochs=1, precision=precision)
    before = snapshot(run.teachers[0])
    student, parts = snapshot(run.model), snapshot(run.losses)
    run.teachers[0].train()
    run.run(None)
    assert same(run.teachers[0].state_dict(), before)
    assert not any(part.training for part in run.teachers[0].modules())
    assert all(parameter.grad is None for parameter in run.teachers[0].parameters())
    # The rest did train: the student with its batch statistics, and everything that the losses own.
    for state, module, still in ((student, run.model, ["mean", "std"]), (parts, run.losses, [])):
        assert [name for name, tensor in module.state_dict().items() if torch.equal(tensor, state[name])] == still


def test_a_linear_probe_moves_the_head_alone(make):
    run = make(linear_probe=True, dropout=0.5)
    before = snapshot(run.model)
    run.run(None)
    changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert not run.model.trunk.training


def test_it_learns(make):
    run = make(epochs=12)
    run.run(None)
    assert run.curve[-1]["ce"] < 0.5 * run.curve[0]["ce"]
    assert run.curve[-1]["validation_accuracy"] > 0.8
    assert run.curve[-1]["train_accuracy"] > 0.8


def test_one_sgd_step_is_the_gradient_s(make):
    """A whole epoch of one step, by hand."""
    run = make(
        ["ce", "kd"], epochs=1, batch_size=64, optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, head_lr=0.3
    )
    model = copy.deepcopy(run.model).train()
    (batch,) = run.train.train_batches(1, 0, 64, 0)
    run.run(None)
    logits = model(batch.images).logits
    taught = run.teachers[0](batch.images).logits
    ce = nn.functional.cross_entropy(logits, batch.labels)
    kd = 16 * nn.functional.kl_div((logits / 4).log_softmax(1), (taught / 4).softmax(1), reduction="batchmean")
    (ce + kd).backward()
    found = dict(run.model.named_parameters())
    for name, parameter in model.named_parameters():
        rate = 0.3 if name.startswith("head.") else 0.1
        assert torch.allclose(found[name], parameter - rate * parameter.grad, atol=1e-6)
    (row,) = run.curve
    assert row["ce"] == pytest.approx(ce.item(), rel=1e-5)
    assert row["kd"] == pytest.approx(kd.item(), rel=1e-5)
    assert row["loss"] == pytest.approx((ce + kd).item(), rel=1e-5)
    assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == batch.labels).double().mean().item())


def test_the_curve_holds_the_means_of_an_epoch_s_steps(make):
    run, steps = make([{"name": "ce", "params": {}, "weight": 3.0}]), []
    run.losses.register_forward_hook(lambda _part, _given, out: steps.append((out[0].item(), out[1]["ce"].item())))
    run.run(None)
    assert [row["epoch"] for row in run.curve] == [1, 2, 3]
    for row, taken in zip(run.curve, np.array(steps).reshape(EPOCHS, STEPS, 2), strict=True):
        assert [row["loss"], row["ce"]] == pytest.approx(taken.mean(0).tolist(), rel=1e-6)
        assert row["loss"] == pytest.approx(3 * row["ce"], rel=1e-6)


def test_rates_follow_the_schedule_step_by_step(make):
    run, rates = make(schedule="cosine", warmup_epochs=1, head_lr=0.5), []

    def note(part, _given):
        if part.training:
            rates.append([group["lr"] for group in run.optimizer.param_groups])

    run.model.register_forward_pre_hook(note)
    run.run(None)
    rising = [step / STEPS for step in range(STEPS)]
    falling = [(1 + math.cos(math.pi * step / (2 * STEPS))) / 2 for step in range(2 * STEPS)]
    for found, factor in zip(rates, rising + falling, strict=True):
        assert found == pytest.approx([0.02 * factor, 0.5 * factor], abs=1e-7)


def epoch_ends(run: Training) -> list[dict[str, torch.Tensor]]:
    """The weights at the end of each epoch of a run."""
    ends: list[dict[str, torch.Tensor]] = []

    def report(progress):
        if progress["done"] == STEPS * (len(ends) + 1) and len(run.curve) == len(ends) + 1:
            ends.append(snapshot(run.model))

    run.report = report
    run.run(None)
    return ends


def test_the_best_epoch_s_weights_are_kept(make):
    run = make(best=True, epochs=8, lr=0.2)
    ends = epoch_ends(run)
    accuracies = [row["validation_accuracy"] for row in run.curve]
    chosen = accuracies.index(max(accuracies))  # of equals the first
    assert chosen < 7, "the case should not choose the last epoch"
    assert (run.best_epoch["epoch"], run.best_epoch["accuracy"]) == (chosen + 1, accuracies[chosen])
    assert same(run.model.state_dict(), ends[chosen])
    assert correct_by_example(run, run.validation).mean() == accuracies[chosen]


def test_the_last_epoch_s_weights_are_kept_otherwise(make):
    run = make(best=False, epochs=8, lr=0.2)
    ends = epoch_ends(run)
    assert run.best_epoch is None
    assert same(run.model.state_dict(), ends[-1])
    assert not same(ends[-1], ends[-2])


def test_validation_neither_trains_nor_augments(make):
    run = make()
    run.model.eval()
    (batch,) = run.validation.test_batches(64)
    before = snapshot(run.model)
    run.model.train()
    found = correct_by_example(run, run.validation)
    assert same(run.model.state_dict(), before)
    with torch.no_grad():
        assert np.array_equal(found, (run.model.eval()(batch.images).logits.argmax(1) == batch.labels).numpy())
    with_it, without = make(), make()
    without.validation = None
    for each in (with_it, without):
        each.run(None)
    assert same(with_it.model.state_dict(), without.model.state_dict())
    assert [{k: v for k, v in row.items() if k != "validation_accuracy"} for row in with_it.curve] == without.curve


def test_the_accuracy_on_mixed_images_counts_the_label_of_the_larger_share(make):
    run = make(start=2, seed=3, mix=["mixup"], lr=1e-9, epochs=1)
    batches = list(run.train.train_batches(3, 0, BATCH, 0))
    model = copy.deepcopy(run.model).train()
    right, first = [], []
    for batch in batches:
        chosen = model(batch.images).logits.argmax(1)
        right += (chosen == torch.where(batch.mix.share < 0.5, batch.mix.labels, batch.labels)).tolist()
        first += (chosen == batch.labels).tolist()
    assert sum(right) != sum(first), "the case should tell the two apart"
    run.run(None)
    assert run.curve[0]["train_accuracy"] == pytest.approx(np.mean(right))


def test_a_loss_that_is_not_finite_is_named(make):
    run = make(["ce", {"name": "ruined", "params": {}, "weight": 1.0}], batch_size=64)
    with pytest.raises(StageError) as caught:
        run.run(None)
    assert str(caught.value) == ("loss is nan in epoch 1 (terms: ruined.boom); lower the rate or the term's weight")


def test_a_run_that_diverges_ends(make):
    run = make(epochs=30, lr=1e30, optimizer="sgd")
    with pytest.raises(StageError, match=r"loss is (nan|inf) in epoch \d+ \(terms: ce\); lower the rate"):
        run.run(None)


def test_half_precision_needs_a_gpu(make):
    with pytest.raises(StageError) as caught:
        make(precision="fp16").run(None)
    assert str(caught.value) == "precision fp16 needs a GPU; use bf16 or fp32 on the CPU"


def test_bf16_computes_in_half_and_keeps_weights_in_full(make):
    run, full = make(precision="bf16"), make()
    kinds = set()
    run.model.trunk[0].register_forward_hook(lambda _part, _given, out: kinds.add(out.dtype))
    for each in (run, full):
        each.run(None)
    assert kinds == {torch.bfloat16}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert run.curve[-1]["ce"] != full.curve[-1]["ce"]
    assert run.curve[-1]["ce"] == pytest.approx(full.curve[-1]["ce"], rel=0.1)


def test_channels_last_changes_the_layout_and_not_the_result(make):
    run, plain = make(channels_last=True), make()
    layouts = set()
    run.model.register_forward_pre_hook(
        lambda _part, given: layouts.add(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    for each in (run, plain):
        each.run(None)
    assert layouts == {True}
    assert run.curve[-1]["ce"] == pytest.approx(plain.curve[-1]["ce"], rel=1e-3)


def test_progress_ends_at_the_total(make):
    run, seen = make(), []
    run.report = seen.append
    run.run(None)
    done = [progress["done"] for progress in seen]
    assert done == sorted(done)
    assert seen[-1] == {"done": 15, "total": 15, "epoch": 3, "epochs": 3}
    assert {progress["epoch"] for progress in seen} == {1, 2, 3}


def test_the_ledger_books_every_second_once(make, tmp_path, monkeypatch):
    passing = Passing(monkeypatch)
    checkpoints = EveryStep(StageFolder(tmp_path))
    run = make(["ce", "kd"], checkpoints=checkpoints)
    run.account.add("setup", 7.0, 7.0)
    passing.slow(run.train, "train_batches", 1)
    passing.slow(run.teachers[0], "forward", 100)
    passing.slow(run.losses, "forward", 10_000)
    passing.slow(run.validation, "test_batches", 10)
    passing.slow(checkpoints, "save", 1000)
    run.run(None)
    batches = -(-len(HELD) // BATCH)
    saves = EPOCHS * (STEPS + 1)
    expected = {
        "setup": 7.0,
        "data": EPOCHS * STEPS * 1.0,
        "teacher": EPOCHS * STEPS * 100.0,
        "student": EPOCHS * STEPS * 10_000.0,
        "evaluation": EPOCHS * batches * 10.0,
        "checkpoint": saves * 1000.0,
    }
    assert run.account.here == run.account.alone == expected
    assert sum(run.account.here.values()) == 7 + passing.now


def test_the_ledger_of_a_resumed_run_adds_up(make, tmp_path, monkeypatch):
    passing = Passing(monkeypatch)
    checkpoints = EveryStep(StageFolder(tmp_path))
    first = make(checkpoints=checkpoints)
    passing.slow(first.train, "train_batches", 1)
    passing.slow(first.validation, "test_batches", 10)
    first.run(None)
    (tmp_path / "checkpoint.pt").write_bytes(checkpoints.kept[1, 2])
    resumed = make()
    resumed.account.add("setup", 3.0, 3.0)
    passing.slow(resumed.train, "train_batches", 2)
    passing.slow(resumed.validation, "test_batches", 20)
    resumed.run(Checkpoints(StageFolder(tmp_path), 1e9).load())
    batches = -(-len(HELD) // BATCH)
    seconds = {name: value for name, value in resumed.account.here.items() if value}
    assert seconds == {
        "setup": 3.0,
        "data": 7 * 1.0 + 8 * 2.0,
        "evaluation": batches * 10.0 + 2 * batches * 20.0,
    }
