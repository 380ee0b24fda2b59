"""The first stage of two-stage methods: its parts, length, rows in curve and ledger, and resumption."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.components import Component, Offer
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.transforms import Transform
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.specs.records import Progress
from benchbench.store import StageFolder
from benchbench.training import clock, loop, member
from benchbench.training.checkpoints import Checkpoints
from tests.specs import loss_spec
from tests.training.small import (
    CLASSES,
    CPU,
    EPOCHS,
    SIDE,
    EveryStep,
    Run,
    assert_same_end,
    coloured,
    make_run,
    remembered,
    small_recipe,
    snapshot,
)

TRAIN, HELD_OUT = np.arange(13), np.arange(13, 25)  # 3 steps an epoch; the last image is dropped
STEPS = 3
SHARE, PREPARATION = 0.5, 2  # of 3 epochs, rounded up
LENGTH = (PREPARATION + EPOCHS) * STEPS


class Projected(Loss):
    """Both sides meet in a space of the loss's own; draws random numbers, and notes the epochs of its batches."""

    def __init__(self, context: LossContext, share: float = SHARE, broken: bool = False):
        super().__init__(context)
        self.preparation, self.broken = share, broken
        self.of_teacher = nn.Linear(context.teacher_dim, 4)
        self.back = nn.Linear(4, context.teacher_dim)
        self.of_student = nn.Linear(context.student_dim, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(2))
        self.epochs: dict[str, list[float]] = {"prepare": [], "forward": []}

    def forward(self, student, teacher, batch):
        self.calls[1] += 1
        self.epochs["forward"].append(batch.epoch)
        noise = 0.1 * torch.rand(4)
        target = self.of_teacher(teacher.embedding)
        return {"meet": (self.norm(self.of_student(student.embedding)) - target + noise).square().mean()}

    def start(self, batch) -> float:
        self.calls[0] += 1
        self.epochs["prepare"].append(batch.epoch)
        last_step = batch.epoch > -1.5 / STEPS
        return math.nan if self.broken and last_step else 1.0


class PartsFirst(Projected):
    """Reconstructs the teacher's embedding before the training."""

    prepares = "parts"

    def prepare(self, student, teacher, batch):
        assert student is None
        code = self.norm(self.of_teacher(teacher.embedding)) + 0.1 * torch.rand(4)
        return {"reconstruct": self.start(batch) * (self.back(code) - teacher.embedding).square().mean()}


class StudentFirst(Projected):
    """The student's embedding meets the teacher's before the task begins."""

    prepares = "student"
    preparation_rate = 0.5

    def prepare(self, student, teacher, batch):
        code = self.norm(self.of_student(student.embedding)) + 0.1 * torch.rand(4)
        gap = (code - self.of_teacher(teacher.embedding)).square().mean()
        return {"hint": self.start(batch) * gap, "size": student.embedding.abs().mean()}


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch):
    """Tests here count the calls of a loss, and the measurement of its gradients is one more."""
    monkeypatch.setattr(loop, "term_gradients", lambda *_: None)


@pytest.fixture(scope="module")
def registry():
    registry = load_plugins().registry
    for name, target in (("parts_first", PartsFirst), ("student_first", StudentFirst)):
        component = Component(name, f"{__name__}:{target.__name__}", needs=frozenset({"teacher"}))
        registry.add(Offer("loss", component, "here"))
    return registry


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return coloured(25)


def network(seed: int, width: int = 6) -> Backbone:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
    return Backbone(Trunk(module, width, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), CLASSES)


@pytest.fixture
def make(registry, images, tmp_path):
    """A run with cross-entropy and the named losses, each with params."""

    def run(losses, start=0, best=False, checkpoints=None, **recipe) -> Run:
        losses = losses if isinstance(losses, dict) else {losses: {}}
        specs = [loss_spec(name, **params) for name, params in {"ce": {}, **losses}.items()]
        full = small_recipe(**recipe)
        model, teacher = network(start), network(77, width=9).freeze()
        context = LossContext(
            classes=CLASSES,
            student_dim=model.dim,
            student_head=model.head,
            teacher_dim=teacher.dim,
            teacher_head=teacher.head,
            labels=torch.from_numpy(images.labels[TRAIN]),
            epochs=full.epochs,
            device=CPU,
        )
        torch.manual_seed(start + 1000)
        transform = Transform(SIDE, None, [])
        return make_run(
            model,
            MultiTeacherLoss(specs, registry, [context], [1.0]),
            full,
            tuple(InMemoryLoader(ImageSubset(images, indices), transform, CPU) for indices in (TRAIN, HELD_OUT)),
            StageFolder(tmp_path),
            teachers=[teacher],
            best=best,
            checkpoints=checkpoints,
        )

    return run


def part(run: Run, name: str) -> Projected:
    return run.losses.ensemble.parts[name]


def changed(module: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


class StopError(Exception):
    pass


def until_training(run: Run) -> None:
    """Runs the first stage alone, to where the first batch of the training would be drawn."""
    real = run.inputs.train.train_batches

    def batches(seed, epoch, *rest):
        if epoch == 0:
            raise StopError
        return real(seed, epoch, *rest)

    run.inputs.train.train_batches = batches
    with pytest.raises(StopError):
        run.run()
    run.inputs.train.train_batches = real


OPTIMIZERS = {"adamw": {"weight_decay": 0.1}, "sgd": {"optimizer": "sgd", "weight_decay": 0.1}}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_prepares_its_parts_leaves_the_student_alone(make, optimizer):
    run = make("parts_first", **OPTIMIZERS[optimizer])
    student, parts, teacher, passes = snapshot(run.model), snapshot(run.losses), snapshot(run.teachers[0]), []
    run.model.register_forward_hook(lambda *_: passes.append(1))
    until_training(run)
    assert passes == []
    assert changed(run.model, student) == set()  # batch statistics included
    assert changed(run.teachers[0], teacher) == set()
    own = {name.removeprefix("ensemble.parts.parts_first.") for name in changed(run.losses, parts)}
    read = {f"{layer}.{kind}" for layer in ("of_teacher", "back", "norm") for kind in ("weight", "bias")}
    statistics = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert own == read | statistics | {"calls"}
    assert part(run, "parts_first").calls.tolist() == [PREPARATION * STEPS, 0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_prepares_the_student_leaves_its_head_alone(make, optimizer):
    run = make("student_first", **OPTIMIZERS[optimizer])
    student, teacher = snapshot(run.model), snapshot(run.teachers[0])
    until_training(run)
    trunk = {name for name in student if name.startswith("trunk.")}
    assert changed(run.model, student) == trunk
    assert changed(run.teachers[0], teacher) == set()
    assert part(run, "student_first").calls.tolist() == [PREPARATION * STEPS, 0]


def test_a_loss_of_each_kind_together(make):
    """The longest first stage is that of both; each trains its own part."""
    run = make({"parts_first": {"share": 0.1}, "student_first": {}})
    run.run()
    for name in ("parts_first", "student_first"):
        assert part(run, name).calls.tolist() == [PREPARATION * STEPS, EPOCHS * STEPS]
    assert set(run.curve[0]) == {"epoch", "loss", "parts_first.reconstruct", "student_first.hint", "student_first.size"}


@pytest.mark.parametrize(
    ("share", "epochs", "expected"),
    [(0.0, 3, 0), (0.01, 3, 1), (1 / 3, 3, 1), (0.34, 3, 2), (1.0, 2, 2), (2.0, 2, 4), (0.07, 100, 7), (0.28, 25, 7)],
)
def test_its_length_is_the_share_of_the_epochs_rounded_up(make, share, epochs, expected):
    """Of the number meant: 0.07 x 100 is a little more than 7 in floating point."""
    run = make({"student_first": {"share": share}}, epochs=epochs)
    assert run.preparation == expected


def test_a_share_of_0_is_no_first_stage(make):
    run = make({"parts_first": {"share": 0.0}})
    run.run()
    assert [row["epoch"] for row in run.curve] == [1, 2, 3]
    assert part(run, "parts_first").calls.tolist() == [0, EPOCHS * STEPS]
    assert "preparation" not in run.account.here


@pytest.mark.parametrize(
    ("name", "terms"),
    [("parts_first", {"parts_first.reconstruct"}), ("student_first", {"student_first.hint", "student_first.size"})],
)
def test_the_curve_begins_with_it(make, name, terms):
    run, evaluated = make(name, best=True), []
    real = run.inputs.validation.test_batches
    run.inputs.validation.test_batches = lambda size: evaluated.append(len(run.curve)) or real(size)
    run.run()
    assert [row["epoch"] for row in run.curve] == [-1, 0, 1, 2, 3]
    assert [set(row) for row in run.curve[:PREPARATION]] == [{"epoch", "loss"} | terms] * PREPARATION
    trained = {"epoch", "loss", "ce", f"{name}.meet", "train_accuracy", "validation_accuracy"}
    assert [set(row) for row in run.curve[PREPARATION:]] == [trained] * EPOCHS
    assert all(row["loss"] == pytest.approx(sum(row[term] for term in terms)) for row in run.curve[:PREPARATION])
    assert evaluated == [2, 3, 4]  # once an epoch of the training, never before
    assert 1 <= run.best_epoch.epoch <= EPOCHS
    assert run.curve[0][next(iter(sorted(terms)))] > run.curve[1][next(iter(sorted(terms)))]


def test_batches_carry_the_epoch(make):
    run = make("student_first")
    run.run()
    epochs = part(run, "student_first").epochs
    assert epochs["prepare"] == pytest.approx([-2 + step / STEPS for step in range(PREPARATION * STEPS)])
    assert epochs["forward"] == pytest.approx([step / STEPS for step in range(EPOCHS * STEPS)])
    assert max(epochs["prepare"]) < 0 == min(epochs["forward"])


def test_rates_are_constant_in_it_and_follow_the_schedule_afterwards(make):
    run, rates = make("student_first", schedule="cosine", warmup_epochs=1, head_lr=0.5), []
    run.losses.ensemble.parts["student_first"].norm.register_forward_pre_hook(
        lambda *_: rates.append([group["lr"] for group in run.optimizer.param_groups])
    )
    run.run()
    rising = [step / STEPS for step in range(STEPS)]
    falling = [(1 + math.cos(math.pi * step / (2 * STEPS))) / 2 for step in range(2 * STEPS)]
    for step_rates, factor in zip(rates, [0.5] * PREPARATION * STEPS + rising + falling, strict=True):
        assert step_rates == pytest.approx([0.02 * factor, 0.5 * factor, 0.02 * factor], abs=1e-7)


@pytest.mark.parametrize("name", ["parts_first", "student_first"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_training_begins_with_a_fresh_optimizer(make, name, optimizer):
    run, states = make(name, **OPTIMIZERS[optimizer]), []
    part(run, name).norm.register_forward_pre_hook(lambda *_: states.append(remembered(run.optimizer.state.values())))
    run.run()
    begin = PREPARATION * STEPS
    assert states[0] == states[begin] == 0
    assert all(states[1:begin])
    assert all(states[begin + 1 :])


@pytest.mark.parametrize("name", ["parts_first", "student_first"])
def test_what_it_leaves_is_weights_alone(make, name):
    """The training goes on as one would that starts from these weights and has no first stage."""
    both, first, second = make(name), make(name), make({name: {"share": 0.0}}, start=9)
    both.run()
    until_training(first)
    second.model.load_state_dict(first.model.state_dict())
    second.losses.load_state_dict(first.losses.state_dict())
    second.run()
    assert changed(second.model, snapshot(both.model)) == set()
    assert changed(second.losses, snapshot(both.losses)) == set()
    assert second.curve == both.curve[PREPARATION:]


def test_progress_counts_it(make, monkeypatch):
    now = iter(range(1, 1000))
    monkeypatch.setattr(
        member, "time", types.SimpleNamespace(perf_counter=lambda: 0.0, monotonic=lambda: float(next(now)))
    )
    run, reports = make("parts_first"), []
    run.report = reports.append
    run.run()
    done = [progress.done for progress in reports]
    assert done == sorted(done)
    assert set(done) == set(range(1, LENGTH + 1))
    assert reports[0] == Progress(done=1, total=LENGTH, epoch=0, epochs=EPOCHS)
    assert (reports[-1].done, reports[-1].total, reports[-1].epoch) == (LENGTH, LENGTH, EPOCHS)


def test_the_ledger_books_it_by_name(make, monkeypatch):
    now = [0.0]
    for module in (clock, member):
        monkeypatch.setattr(
            module, "time", types.SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0])
        )
    run = make("student_first")
    real = run.network.model.forward

    def forward(*args):
        now[0] += 1
        return real(*args)

    run.network.model.forward = forward
    run.without_validation()
    run.run()
    seconds = {name: value for name, value in run.account.here.items() if value}
    assert seconds == {"preparation": PREPARATION * STEPS, "student": EPOCHS * STEPS}


def test_a_term_that_is_not_finite_ends_it(make):
    with pytest.raises(
        StageError, match=r"loss is nan in the first stage of a two-stage method \(terms: student_first\.hint\)"
    ):
        make({"student_first": {"broken": True}}).run()


@pytest.mark.parametrize("name", ["parts_first", "student_first"])
def test_half_precision_is_for_the_networks_and_losses_are_in_full(name, make):
    run, networks, losses = make(name, precision="bf16"), set(), set()
    for network in (run.model, run.teachers[0]):
        network.trunk[0].register_forward_hook(lambda _part, _given, out: networks.add(out.dtype))
    part(run, name).of_teacher.register_forward_hook(lambda _part, _given, out: losses.add(out.dtype))
    until_training(run)
    assert networks == {torch.bfloat16}
    assert losses == {torch.float32}
    assert {parameter.dtype for parameter in run.losses.parameters()} == {torch.float32}


# Within the first stage, between its epochs, after its last step, at the boundary, behind it, between two epochs.
EVERYWHERE = ((-2, 1), (-1, 0), (-1, STEPS), (0, 0), (0, 1), (1, 0))


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("losses", "options", "places"),
    [
        ("parts_first", {"best": True}, EVERYWHERE[::2]),
        ("student_first", {"optimizer": "sgd", "schedule": "cosine"}, EVERYWHERE[1::2]),
        ({"parts_first": {"share": 0.2}, "student_first": {}, "crd": {"dim": 4, "negatives": 5}}, {}, EVERYWHERE[:4]),
    ],
    ids=["parts", "student", "both"],
)
def test_a_run_resumed_anywhere_ends_bit_for_bit_the_same(losses, options, places, make, tmp_path):
    undisturbed = make(losses, **options)
    undisturbed.run()
    every = EveryStep(StageFolder(tmp_path))
    saving = make(losses, **options, checkpoints=every)
    saving.run()
    assert_same_end(saving, undisturbed)
    assert len(every.files) == (PREPARATION + EPOCHS) * (STEPS + 1)
    for epoch, step in places:
        folder = StageFolder(tmp_path / f"{epoch} {step}" / tmp_path.name)  # a stage is known by its folder
        folder.path.mkdir(parents=True)
        folder.checkpoint.write_bytes(every.files[epoch, step])
        checkpoints = Checkpoints(folder, 1e9)
        state = checkpoints.load()
        if (epoch, step) == (0, 0):
            assert remembered(state["optimizer"]["state"].values()) == 0
        # Other initial weights and random state: all that counts is in the checkpoint.
        resumed = make(losses, **options, start=5 + step, checkpoints=checkpoints)
        torch.manual_seed(step)
        resumed.run(state)
        assert_same_end(resumed, undisturbed)
