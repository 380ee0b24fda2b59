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
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ComponentSpec, LossSpec
from benchbench.specs.records import Progress
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from tests.specs import loss_spec
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
    Run,
    assert_same_end,
    coloured,
    make_run,
    same,
    small_recipe,
    snapshot,
)

TRAIN, HELD_OUT = np.arange(22), np.arange(22, 40)  # 5 steps an epoch; the last 2 images are dropped
STEPS = 5
CROP = ComponentSpec(name="random_crop", params={"padding": 1, "resize": None})
FUNCTIONS = {"flip": flip, "random_crop": random_crop, "mixup": mixup}


def ruined(student, teacher, batch):
    """A loss with one term that is not finite."""
    return {"fine": student.logits.square().mean(), "boom": student.logits.mean() * float("nan")}


@pytest.fixture(scope="module")
def registry():
    registry = load_plugins().registry
    registry.add(Offer("loss", Component("ruined", f"{__name__}:ruined"), "here"))
    return registry


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return coloured(40)


def network(seed: int, width: int = 6, dropout: float = 0.0, classes: int | None = CLASSES) -> Backbone:
    seed_everything(seed, CPU)
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
    """Runs of a small network; parts of two runs have nothing in common but the data and the teacher."""

    def run(
        losses=("ce",), start=0, seed=1, dropout=0.0, best=False, linear_probe=False, mix=(), checkpoints=None, **recipe
    ) -> Run:
        specs = [loss if isinstance(loss, LossSpec) else loss_spec(loss) for loss in losses]
        augment = ComponentSpec(name="flip", params={"probability": 0.5}), CROP
        mixers = tuple(ComponentSpec(name=name, params={"alpha": 1.0, "probability": 0.8}) for name in mix)
        full, load = small_recipe(augment=augment, mix=mixers, **recipe), FUNCTIONS.__getitem__
        transform = Transform(SIDE, None, bind_augmenters(full.augment, load), bind_mixers(full.mix, load))
        model = network(start, dropout=dropout)
        if linear_probe:
            model.freeze(head=False)
        needs = set().union(*(registry.get("loss", loss.name).needs for loss in specs))
        teacher = teacher_network() if needs & {"teacher", "teacher.logits"} else None
        context = LossContext(
            classes=CLASSES,
            student_dim=model.dim,
            student_head=model.head,
            teacher_dim=teacher.dim if teacher else None,
            teacher_head=teacher.head if teacher else None,
            labels=torch.from_numpy(images.labels[TRAIN]),
            epochs=full.epochs,
            device=CPU,
        )
        seed_everything(start + 1000, CPU)
        return make_run(
            model,
            MultiTeacherLoss(specs, registry, [context], [1.0] if teacher else []),
            full,
            tuple(InMemoryLoader(ImageSubset(images, indices), transform, CPU) for indices in (TRAIN, HELD_OUT)),
            StageFolder(tmp_path),
            teachers=[teacher] if teacher else [],
            seed=seed,
            best=best,
            checkpoints=checkpoints,
        )

    return run


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
@pytest.mark.whole_run
def test_a_run_resumed_at_any_step_ends_bit_for_bit_the_same(case, make, tmp_path):
    options = RESUMED[case]
    undisturbed = make(**options)
    undisturbed.run()
    every = EveryStep(StageFolder(tmp_path))
    saving = make(**options, checkpoints=every)
    saving.run()
    assert_same_end(saving, undisturbed)  # saving changes nothing
    assert len(every.files) == EPOCHS * (STEPS + 1)
    for index, content in enumerate(every.files.values()):
        folder = StageFolder(tmp_path / str(index) / tmp_path.name)  # a stage is known by its folder
        folder.path.mkdir(parents=True)
        folder.checkpoint.write_bytes(content)
        checkpoints = Checkpoints(folder, 1e9)
        # Other initial weights, projectors and random state: all that counts is in the checkpoint.
        resumed = make(**options, start=5 + index, checkpoints=checkpoints)
        seed_everything(index, CPU)
        resumed.run(checkpoints.load())
        assert_same_end(resumed, undisturbed)


def test_a_run_is_its_seed_s(make):
    runs = [make(dropout=0.5, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        torch.seed()
        run.run()
    assert same(runs[0].model.state_dict(), runs[1].model.state_dict())
    assert runs[0].curve == runs[1].curve
    assert not same(runs[0].model.state_dict(), runs[2].model.state_dict())


def test_dropout_differs_from_step_to_step(make):
    """The global generator is seeded at every step, but not the same."""
    run, masks = make(dropout=0.5, epochs=2), []
    run.model.trunk[5].register_forward_hook(lambda part, inputs, out: masks.append((out == 0) & (inputs[0] != 0)))
    run.run()
    training = [mask.numpy().tobytes() for mask in masks if mask.any()]
    assert len(training) == len(set(training)) == 2 * STEPS


DISTILLING = ["align_uniform", CRD, "kd", "srrl"]


@pytest.mark.parametrize(
    "losses",
    [list(chosen) for count in range(1, 5) for chosen in itertools.combinations(DISTILLING, count)],
    ids=lambda chosen: "+".join(each if isinstance(each, str) else each.name for each in chosen),
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_teacher_stays_as_it_is(losses, precision, make):
    run = make(["ce", *losses], epochs=1, precision=precision)
    before = snapshot(run.teachers[0])
    student, parts = snapshot(run.model), snapshot(run.losses)
    run.teachers[0].train()
    run.run()
    assert same(run.teachers[0].state_dict(), before)
    assert not any(part.training for part in run.teachers[0].modules())
    assert all(parameter.grad is None for parameter in run.teachers[0].parameters())
    # The rest did train: the student with its batch statistics, and everything that the losses own.
    for state, module, still in ((student, run.model, ["mean", "std"]), (parts, run.losses, [])):
        assert [name for name, tensor in module.state_dict().items() if torch.equal(tensor, state[name])] == still


def test_a_linear_probe_moves_the_head_alone(make):
    run = make(linear_probe=True, dropout=0.5)
    before = snapshot(run.model)
    run.run()
    changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert not run.model.trunk.training


def test_it_learns(make):
    run = make(epochs=12)
    run.run()
    assert run.curve[-1]["ce"] < 0.5 * run.curve[0]["ce"]
    assert run.curve[-1]["validation_accuracy"] > 0.8
    assert run.curve[-1]["train_accuracy"] > 0.8


def test_one_sgd_step_is_the_gradient_s(make):
    """A whole epoch of one step, by hand."""
    run = make(
        ["ce", "kd"], epochs=1, batch_size=64, optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, head_lr=0.3
    )
    model = copy.deepcopy(run.model).train()
    (batch,) = run.inputs.train.train_batches(1, 0, 64, 0)
    run.run()
    logits = model(batch.images).logits
    teacher_logits = run.teachers[0](batch.images).logits
    ce = nn.functional.cross_entropy(logits, batch.labels)
    kd = 16 * nn.functional.kl_div((logits / 4).log_softmax(1), (teacher_logits / 4).softmax(1), reduction="batchmean")
    (ce + kd).backward()
    parameters = dict(run.model.named_parameters())
    for name, parameter in model.named_parameters():
        rate = 0.3 if name.startswith("head.") else 0.1
        assert torch.allclose(parameters[name], parameter - rate * parameter.grad, atol=1e-6)
    (row,) = run.curve
    assert row["ce"] == pytest.approx(ce.item(), rel=1e-5)
    assert row["kd"] == pytest.approx(kd.item(), rel=1e-5)
    assert row["loss"] == pytest.approx((ce + kd).item(), rel=1e-5)
    assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == batch.labels).double().mean().item())


def test_the_curve_holds_the_means_of_an_epoch_s_steps(make):
    run, steps = make([loss_spec("ce", 3.0)]), []
    run.losses.register_forward_hook(lambda _part, _given, out: steps.append((out[0].item(), out[1]["ce"].item())))
    run.run()
    assert [row["epoch"] for row in run.curve] == [1, 2, 3]
    for row, pairs in zip(run.curve, np.array(steps).reshape(EPOCHS, STEPS, 2), strict=True):
        assert [row["loss"], row["ce"]] == pytest.approx(pairs.mean(0).tolist(), rel=1e-6)
        assert row["loss"] == pytest.approx(3 * row["ce"], rel=1e-6)


def test_rates_follow_the_schedule_step_by_step(make):
    run, rates = make(schedule="cosine", warmup_epochs=1, head_lr=0.5), []

    def note(part, _given):
        if part.training:
            rates.append([group["lr"] for group in run.optimizer.param_groups])

    run.model.register_forward_pre_hook(note)
    run.run()
    rising = [step / STEPS for step in range(STEPS)]
    falling = [(1 + math.cos(math.pi * step / (2 * STEPS))) / 2 for step in range(2 * STEPS)]
    for step_rates, factor in zip(rates, rising + falling, strict=True):
        assert step_rates == pytest.approx([0.02 * factor, 0.5 * factor], abs=1e-7)


def epoch_ends(run: Run) -> list[dict[str, torch.Tensor]]:
    """The weights at the end of each epoch of a run."""
    ends: list[dict[str, torch.Tensor]] = []

    def report(progress):
        if progress.done == STEPS * (len(ends) + 1) and len(run.curve) == len(ends) + 1:
            ends.append(snapshot(run.model))

    run.report = report
    run.run()
    return ends


def test_the_best_epoch_s_weights_are_kept(make):
    run = make(best=True, epochs=8, lr=0.2)
    ends = epoch_ends(run)
    accuracies = [row["validation_accuracy"] for row in run.curve]
    chosen = accuracies.index(max(accuracies))  # of equals the first
    assert chosen < 7, "the case should not choose the last epoch"
    assert (run.best_epoch.epoch, run.best_epoch.accuracy) == (chosen + 1, accuracies[chosen])
    assert same(run.model.state_dict(), ends[chosen])
    assert run.hits().mean() == accuracies[chosen]


def test_the_last_epoch_s_weights_are_kept_otherwise(make):
    run = make(best=False, epochs=8, lr=0.2)
    ends = epoch_ends(run)
    assert run.best_epoch is None
    assert same(run.model.state_dict(), ends[-1])
    assert not same(ends[-1], ends[-2])


def test_validation_neither_trains_nor_augments(make):
    run = make()
    run.model.eval()
    (batch,) = run.inputs.validation.test_batches(64)
    before = snapshot(run.model)
    run.model.train()
    hits = run.hits()
    assert same(run.model.state_dict(), before)
    with torch.no_grad():
        assert np.array_equal(hits, (run.model.eval()(batch.images).logits.argmax(1) == batch.labels).numpy())
    with_it, without = make(), make()
    without.without_validation()
    for each in (with_it, without):
        each.run()
    assert same(with_it.model.state_dict(), without.model.state_dict())
    assert [{k: v for k, v in row.items() if k != "validation_accuracy"} for row in with_it.curve] == without.curve


def test_the_accuracy_on_mixed_images_counts_the_label_of_the_larger_share(make):
    run = make(start=2, seed=3, mix=["mixup"], lr=1e-9, epochs=1)
    batches = list(run.inputs.train.train_batches(3, 0, BATCH, 0))
    model = copy.deepcopy(run.model).train()
    right, first = [], []
    for batch in batches:
        chosen = model(batch.images).logits.argmax(1)
        right += (chosen == torch.where(batch.mix.share < 0.5, batch.mix.labels, batch.labels)).tolist()
        first += (chosen == batch.labels).tolist()
    assert sum(right) != sum(first), "the case should tell the two apart"
    run.run()
    assert run.curve[0]["train_accuracy"] == pytest.approx(np.mean(right))


def test_a_loss_that_is_not_finite_is_named(make):
    run = make(["ce", "ruined"], batch_size=64)
    with pytest.raises(StageError) as caught:
        run.run()
    assert str(caught.value) == ("loss is nan in epoch 1 (terms: ruined.boom); lower the rate or the term's weight")


def test_a_run_that_diverges_ends(make):
    run = make(epochs=30, lr=1e30, optimizer="sgd")
    with pytest.raises(StageError, match=r"loss is (nan|inf) in epoch \d+ \(terms: ce\); lower the rate"):
        run.run()


def test_half_precision_needs_a_gpu(make):
    with pytest.raises(StageError) as caught:
        make(precision="fp16").run()
    assert str(caught.value) == "precision fp16 needs a GPU; use bf16 or fp32 on the CPU"


def test_bf16_computes_in_half_and_keeps_weights_in_full(make):
    run, full = make(precision="bf16"), make()
    kinds = set()
    run.model.trunk[0].register_forward_hook(lambda _part, _given, out: kinds.add(out.dtype))
    for each in (run, full):
        each.run()
    assert kinds == {torch.bfloat16}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert run.curve[-1]["ce"] != full.curve[-1]["ce"]
    assert run.curve[-1]["ce"] == pytest.approx(full.curve[-1]["ce"], rel=0.1)


def test_channels_last_changes_the_layout_and_not_the_result(make):
    run, plain = make(channels_last=True), make()
    layouts = set()
    run.model.register_forward_pre_hook(
        lambda _part, inputs: layouts.add(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    for each in (run, plain):
        each.run()
    assert layouts == {True}
    assert run.curve[-1]["ce"] == pytest.approx(plain.curve[-1]["ce"], rel=1e-3)


def test_progress_ends_at_the_total(make):
    run, reports = make(), []
    run.report = reports.append
    run.run()
    done = [progress.done for progress in reports]
    assert done == sorted(done)
    assert reports[-1] == Progress(done=15, total=15, epoch=3, epochs=3)
    assert {progress.epoch for progress in reports} == {1, 2, 3}


def test_the_ledger_books_every_second_once(make, tmp_path, monkeypatch):
    passing = Passing(monkeypatch)
    checkpoints = EveryStep(StageFolder(tmp_path))
    run = make(["ce", "kd"], checkpoints=checkpoints)
    run.account.add("setup", 7.0, 7.0)
    passing.slow(run.inputs.train, "train_batches", 1)
    passing.slow(run.teachers[0], "forward", 100)
    passing.slow(run.losses, "forward", 10_000)
    passing.slow(run.inputs.validation, "test_batches", 10)
    passing.slow(checkpoints, "save", 1000)
    run.run()
    batches = -(-len(HELD_OUT) // BATCH)
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
    passing.slow(first.inputs.train, "train_batches", 1)
    passing.slow(first.inputs.validation, "test_batches", 10)
    first.run()
    (tmp_path / "checkpoint.pt").write_bytes(checkpoints.files[1, 2])
    resumed = make()
    resumed.account.add("setup", 3.0, 3.0)
    passing.slow(resumed.inputs.train, "train_batches", 2)
    passing.slow(resumed.inputs.validation, "test_batches", 20)
    resumed.run(Checkpoints(StageFolder(tmp_path), 1e9).load())
    batches = -(-len(HELD_OUT) // BATCH)
    seconds = {name: value for name, value in resumed.account.here.items() if value}
    assert seconds == {
        "setup": 3.0,
        "data": 7 * 1.0 + 8 * 2.0,
        "evaluation": batches * 10.0 + 2 * batches * 20.0,
    }
