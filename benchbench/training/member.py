"""One network that trains: its step, the end of its epoch, and the state of its checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.execution.graph_pool import GraphPool
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs
from benchbench.seeds import derive, seed_everything
from benchbench.specs.parts import Json, RecipeSpec
from benchbench.specs.records import CurveRow, Progress
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account
from benchbench.training.isolation import checked_copies
from benchbench.training.optimizers import make_optimizer, rate_factor, rates_on, set_rates
from benchbench.training.step_graph import StepGraph

# Seconds between reports of progress within an epoch.
REPORT_SECONDS = 0.3
TensorDict = dict[str, Tensor]


class BestEpoch(NamedTuple):
    """The epoch that is best on the validation images: its number from 1, its accuracy, and its weights."""

    epoch: int
    accuracy: float
    weights: TensorDict


class MemberState(TypedDict):
    """The content of a checkpoint.

    Attributes:
        epoch, step: of the next step.
        sums: of the epoch's losses so far, by term.
        optimizer, scaler: as PyTorch gives them.
        best_epoch: the fields of `BestEpoch`.
        seconds, alone_seconds: as `here` and `alone` of `Account`.
    """

    epoch: int
    step: int
    sums: TensorDict
    model: TensorDict
    losses: TensorDict
    optimizer: dict[str, object]
    scaler: dict[str, object]
    best_epoch: tuple[int, float, TensorDict] | None
    curve: list[CurveRow]
    seconds: dict[str, float]
    alone_seconds: dict[str, float]
    threads: int
    execution: Json


@dataclass(eq=False)
class Member:
    """One training run: scratch, linear probe, fine-tuning, distillation, or the adaptation of a teacher.

    Attributes:
        model: the network that trains.
        losses: the weighted sum of losses.
        recipe: the full recipe.
        steps: of an epoch.
        seed: of dropout and negatives.
        best: keeps the epoch that is best on the validation images; else the last one.
        device: the training device.
        execution: the way the model is run.
        checkpoints: of the unfinished run.
        report: called with progress a few times a second.
        graph_pool: memory of steps that run as CUDA graphs; None runs every step kernel by kernel.
        state: a checkpoint's, that it goes on from; None starts anew.
        account: seconds by section.
        curve: one row per epoch; those of a two-stage method's first stage have numbers up to 0.
        best_epoch: the best one so far.
        position: the next step: (epoch, step).
    """

    model: Backbone
    losses: MultiTeacherLoss
    recipe: RecipeSpec
    steps: int
    seed: int
    best: bool
    device: torch.device
    execution: ExecutionConfig
    checkpoints: Checkpoints[MemberState]
    report: Callable[[Progress], None]
    graph_pool: GraphPool | None = None
    state: MemberState | None = None
    account: Account = field(default_factory=Account)
    curve: list[CurveRow] = field(default_factory=list)
    best_epoch: BestEpoch | None = None
    position: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.execution.precision == "fp16" and self.device.type != "cuda":
            raise StageError("precision fp16 needs a GPU; use bf16 or fp32 on the CPU")
        self.network = ConfiguredModel(self.model, self.execution, self.device)
        self._sums: TensorDict = {}
        self._last_report = 0.0
        self._compiles = self.execution.compile is not None
        self._checked_stages: set[bool] = set()

    def begin(self) -> None:
        """Makes the optimiser, and goes on from a checkpoint's state where there is one."""
        self._new_optimizer()
        self.model.train()
        self.position = (-self.preparation, 0)
        if self.state is None:
            return
        state, self.state = self.state, None
        self.model.load_state_dict(state["model"])
        self.losses.load_state_dict(state["losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        rates_on(self.optimizer, self.device)
        self.scaler.load_state_dict(state["scaler"])
        self.best_epoch = BestEpoch(*state["best_epoch"]) if state["best_epoch"] else None
        self.curve = state["curve"]
        self.account.carry(state["seconds"], state["alone_seconds"])
        self.position = state["epoch"], state["step"]
        self._sums = {name: total.to(self.device) for name, total in state["sums"].items()}

    @property
    def done(self) -> bool:
        return self.position[0] >= self.recipe.epochs

    @property
    def preparation(self) -> int:
        """Epochs of the first stage of a two-stage method; they are numbered from -preparation to -1."""
        # Rounded first: 0.07 x 100 is 7.000000000000001.
        return math.ceil(round(self.losses.preparation * self.recipe.epochs, 9))

    @property
    def section(self) -> str:
        """The clock's section for the next step: "compile" for a compiled network's first one and a graph's capture."""
        if self._compiles or (self.graph is not None and self.graph.captures_next):
            return "compile"
        return "student" if self.position[0] >= 0 else "preparation"

    def _new_optimizer(self) -> None:
        self.optimizer = make_optimizer(self.model, self.losses, self.recipe)
        rates_on(self.optimizer, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.execution.precision == "fp16")
        self.graph: StepGraph | None = None
        if self.graph_pool is not None and not self.scaler.is_enabled():
            self.graph = StepGraph(self._optimize, self.graph_pool, [self.model, self.losses])

    def step(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> None:
        """One step of the optimiser, at `position`; batch and outputs are shared with other members.

        Raises:
            StageError: a loss writes into what is shared. The first step of either stage finds out, on copies.
        """
        self._compiles = False
        preparing = self.position[0] < 0
        if preparing in self._checked_stages:
            self._step(batch, teacher_outputs)
            return
        with checked_copies(batch, teacher_outputs) as (batch, teacher_outputs):
            self._step(batch, teacher_outputs)
        self._checked_stages.add(preparing)

    def _step(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> None:
        epoch, step = self.position
        if not self.model.training:  # it goes through all modules, which takes a good part of a small network's step
            self.model.train()
        # Dropout and negatives draw from the global generator; seeding it by step leaves no state to checkpoint.
        seed_everything(derive(self.seed, "step", epoch, step), self.device)
        set_rates(self.optimizer, rate_factor(self.recipe, batch.epoch) if epoch >= 0 else self.losses.preparation_rate)
        for name, value in (self.graph or self._optimize)(batch, teacher_outputs).items():
            # A new tensor, since a checkpoint may still hold the old one.
            self._sums[name] = self._sums[name] + value if name in self._sums else value.double() + 0.0
        self.position = epoch, step + 1
        if time.monotonic() - self._last_report > REPORT_SECONDS:
            self._last_report = time.monotonic()
            self._report(epoch, step + 1)

    def _optimize(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> TensorDict:
        """Forward pass, loss, backward pass and update; the loss, its terms and the training accuracy."""
        outputs: Outputs | None = None
        preparing = self.position[0] < 0
        if not preparing or self.losses.prepares_student:
            outputs = self.network(batch.images, self.losses.needs_features)
        if preparing:
            total, terms = self.losses.prepare(outputs, teacher_outputs, batch)
        else:
            assert outputs is not None
            total, terms = self.losses(outputs, teacher_outputs, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        values = {name: value.detach() for name, value in terms.items()} | {"loss": total.detach()}
        if not preparing:
            assert outputs is not None
            if outputs.logits is not None:  # None on images without labels
                values["train_accuracy"] = (outputs.logits.detach().argmax(1) == batch.main_labels).double().mean()
        return values

    @torch.no_grad()
    def correct(self, batch: Batch) -> Tensor:
        """True for each image of a batch whose top class is right: [B], bool; the model is in eval mode."""
        logits = self.network(batch.images, eager=True).logits
        assert logits is not None
        return logits.argmax(1) == batch.labels

    def end_epoch(self, accuracy: float | None) -> None:
        """Adds an epoch to the curve; `accuracy` is that on the validation images, where there are any.

        Raises:
            StageError: a loss is no longer finite.
        """
        epoch = self.position[0]
        row: CurveRow = {"epoch": epoch + 1, **self._means(epoch)}
        if accuracy is not None:
            row["validation_accuracy"] = accuracy
            if self.best and (self.best_epoch is None or accuracy > self.best_epoch.accuracy):
                weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
                self.best_epoch = BestEpoch(epoch + 1, accuracy, weights)
        self.curve.append(row)
        self._report(epoch, self.steps)
        self.position, self._sums = (epoch + 1, 0), {}
        if epoch == -1:
            self._new_optimizer()

    def _means(self, epoch: int) -> dict[str, float]:
        """The means of an epoch's losses, all of them finite."""
        # One copy from the device for all of them.
        totals = torch.stack(list(self._sums.values())).tolist()
        means = {name: total / self.steps for name, total in zip(self._sums, totals, strict=True)}
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            names = ", ".join(name for name in broken if name != "loss") or "loss"
            stage = f"epoch {epoch + 1}" if epoch >= 0 else "the first stage of a two-stage method"
            raise StageError(
                f"loss is {means['loss']} in {stage} (terms: {names}); lower the rate or the term's weight"
            )
        return means

    def finish(self) -> None:
        """Puts the chosen epoch's weights in."""
        if self.best and self.best_epoch is not None:
            self.model.load_state_dict(self.best_epoch.weights)

    def _report(self, epoch: int, step: int) -> None:
        done = (epoch + self.preparation) * self.steps + step
        total = (self.recipe.epochs + self.preparation) * self.steps
        self.report(Progress(done=done, total=total, epoch=max(epoch + 1, 0), epochs=self.recipe.epochs))

    def save(self) -> None:
        """Writes a checkpoint; the clock has been settled before."""
        self.checkpoints.save(
            {
                "epoch": self.position[0],
                "step": self.position[1],
                "sums": self._sums,
                "model": self.model.state_dict(),
                "losses": self.losses.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "best_epoch": (*self.best_epoch,) if self.best_epoch else None,
                "curve": self.curve,
                "seconds": self.account.here,
                "alone_seconds": self.account.alone,
                "threads": torch.get_num_threads(),
                "execution": self.execution.record().model_dump(mode="json"),
            }
        )
