"""One network that trains: its step, the end of its epoch, and the state of its checkpoint."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.execution.graph_pool import GraphPool
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.hardware.accelerator import widest
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs
from benchbench.seeds import derive, seed_everything
from benchbench.specs.parts import RecipeSpec
from benchbench.specs.records import CurveRow, ExecutionRecord, Executions, GradientRecord, Progress
from benchbench.training.answers import answers_of, share_right
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account
from benchbench.training.distributed import World
from benchbench.training.dot import DistillationOriented
from benchbench.training.early_stop import stops_early
from benchbench.training.finite import (
    EmbeddingSpread,
    broken_tensors,
    require_finite_losses,
    require_finite_network,
)
from benchbench.training.gradients import accumulated, clip_gradients
from benchbench.training.isolation import checked_copies
from benchbench.training.likely_classes import LikelyClasses
from benchbench.training.member_state import BestEpoch, MemberState, TensorDict
from benchbench.training.optimizers import is_capturable, make_optimizer, rate_factor, rates_on, set_rates
from benchbench.training.step_graph import StepGraph
from benchbench.training.views import outputs_of
from benchbench.training.weight_average import WeightAverage

# Seconds between reports of progress within an epoch.
REPORT_SECONDS = 0.3
# The same for the loss, whose reading waits for the device.
LOSS_SECONDS = 60.0
# Among the sums of an epoch: the steps up to the first one whose loss is not finite.
FINITE_STEPS = "finite steps"


@contextlib.contextmanager
def _large_enough(images: int) -> Iterator[None]:
    """Says it where a layer of batch normalisation has one value per channel.

    Raises:
        StageError: it has.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise StageError(
            f"batch normalisation cannot train on a batch of {images} image, of which it is given one value "
            "per channel; raise `batch_size`, or use more images"
        ) from error


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
        teacher_executions: by role, for checkpoints.
        checkpoints: of the unfinished run.
        report: called with progress a few times a second.
        graph_pool: memory of steps that run as CUDA graphs; None runs every step kernel by kernel.
        state: a checkpoint's, that it goes on from; None starts anew.
        world: of several processes that train it together; None where this one does.
        account: seconds by section.
        curve: one row per epoch; those of a two-stage method's first stage have numbers up to 0.
        best_epoch: the best one so far.
        position: the next step: (epoch, step).
        spread: of the embeddings of the last images that it was evaluated on.
        gradients: of its losses at the first step, where it has others than cross-entropy.
        likely: the likeliest classes of the last images that it was evaluated on; None where that was not asked for.
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
    teacher_executions: Executions = field(default_factory=dict)
    graph_pool: GraphPool | None = None
    state: MemberState | None = None
    world: World | None = None
    account: Account = field(default_factory=Account)
    curve: list[CurveRow] = field(default_factory=list)
    best_epoch: BestEpoch | None = None
    position: tuple[int, int] = (0, 0)
    spread: EmbeddingSpread = field(default_factory=EmbeddingSpread)
    gradients: GradientRecord | None = None
    likely: LikelyClasses | None = None

    def __post_init__(self) -> None:
        if self.execution.precision == "fp16" and self.device.type != "cuda":
            raise StageError("precision fp16 needs a GPU; use bf16 or fp32 on the CPU")
        self.network = ConfiguredModel(self.model, self.execution, self.device)
        self._sums: TensorDict = {}
        self._last_report = 0.0
        self._loss: float | None = None
        self._validation_accuracy: float | None = None
        self._loss_read = time.monotonic()
        self._stopped = False
        self._compiles = self.execution.compile is not None
        self._checked_stages: set[bool] = set()

    def begin(self) -> None:
        """Makes the optimiser, and goes on from a checkpoint's state where there is one."""
        self._new_optimizer()
        self.model.train()
        self._masks = frozenset(broken_tensors(self.model))
        self.position = (-self.preparation, 0)
        if self.state is not None:
            self._go_on_from(self.state)
            self.state = None
        if self.world is not None:
            self.world.make_equal(self.model, self.losses)

    def _go_on_from(self, state: MemberState) -> None:
        self.model.load_state_dict(state["model"])
        self.losses.load_state_dict(state["losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._set_rates_on_device()
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load(state["average"])
        self.best_epoch = BestEpoch(*state["best_epoch"]) if state["best_epoch"] else None
        self.curve = state["curve"]
        # Of other devices than now, they count by device-hours.
        share = state.get("processes", 1) / self._processes
        here, alone = (
            {name: share * seconds for name, seconds in each.items()}
            for each in (state["seconds"], state["alone_seconds"])
        )
        self.account.carry(here, alone)
        if gradients := state.get("gradients"):
            self.gradients = GradientRecord.model_validate(gradients)
        self.position = state["epoch"], state["step"]
        self._stopped = stops_early(self.recipe.early_stop, self.curve)
        self._sums = {name: total.to(self.device) for name, total in state["sums"].items()}

    @property
    def _processes(self) -> int:
        return 1 if self.world is None else self.world.size

    @property
    def done(self) -> bool:
        return self._stopped or self.position[0] >= self.recipe.epochs

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
        self._set_rates_on_device()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.execution.precision == "fp16")
        self.graph: StepGraph | None = None
        ema = self.recipe.ema
        self.average = None if ema is None else WeightAverage(self.model, ema, self.recipe.ema_warmup)
        if self.graph_pool is not None and not self.scaler.is_enabled():
            self.graph = StepGraph(self._optimize, self.graph_pool, [self.model, self.losses])
            if not is_capturable(self.optimizer, self.recipe.optimizer):
                self.graph.refused = f"optimizer {self.recipe.optimizer} counts its steps on the host"

    def _set_rates_on_device(self) -> None:
        if is_capturable(self.optimizer, self.recipe.optimizer):
            rates_on(self.optimizer, self.device)

    def step(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> None:
        """One step of the optimiser, at `position`; batch and outputs are shared with other members.

        Raises:
            StageError: a loss writes into what is shared, or batch normalisation has nothing to take a variance of. The
                first step of either stage finds out, on copies.
        """
        self._compiles = False
        preparing = self.position[0] < 0
        if preparing in self._checked_stages:
            self._step(batch, teacher_outputs)
            return
        images = len(batch.labels) // self.recipe.accumulate
        with checked_copies(batch, teacher_outputs) as (batch, teacher_outputs), _large_enough(images):
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
            self._add(name, value)
        if self.average is not None and epoch >= 0:
            self.average.update(epoch * self.steps + step)
        self._add(FINITE_STEPS, self._sums["loss"].isfinite())  # a sum that is not stays so
        self.position = epoch, step + 1
        if time.monotonic() - self._last_report > REPORT_SECONDS:
            self._last_report = time.monotonic()
            if self._last_report - self._loss_read > LOSS_SECONDS:
                self._note_loss(float(self._sums["loss"]) / (step + 1))
            self._report(epoch, step + 1)

    def _add(self, name: str, value: Tensor) -> None:
        """Adds a step's value to a sum of the epoch."""
        self._sums[name] = self._sums[name] + value if name in self._sums else value.to(widest(self.device)) + 0.0

    def _note_loss(self, loss: float) -> None:
        """Keeps a mean loss for reports."""
        self._loss, self._loss_read = loss if math.isfinite(loss) else None, time.monotonic()

    def _optimize(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> TensorDict:
        """Forward and backward passes, and the update; the loss, its terms and the training accuracy."""
        self.optimizer.zero_grad(set_to_none=True)
        values: TensorDict = {}
        for part, outputs, share in accumulated(batch, teacher_outputs, self.recipe.accumulate):
            for name, value in self._backward(part, outputs, share).items():
                values[name] = values[name] + value if name in values else value
        if self.world is not None:
            self.world.average_gradients(each for group in self.optimizer.param_groups for each in group["params"])
        if self.recipe.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            clip_gradients(self.recipe, self.model, self.losses)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _backward(self, batch: Batch, teacher_outputs: Sequence[Outputs], share: float) -> TensorDict:
        """Adds the gradient of a batch, or of a share of one; the loss, its terms and the accuracy, times the share."""
        outputs: Outputs | None = None
        preparing = self.position[0] < 0
        if not preparing or self.losses.prepares_student:
            outputs = self._outputs(batch)
        if preparing:
            total, terms = self.losses.prepare(outputs, teacher_outputs, batch)
        else:
            assert outputs is not None
            total, terms = self.losses(outputs, teacher_outputs, batch)
        if isinstance(self.optimizer, DistillationOriented) and not preparing:
            self.optimizer.backward(*self.losses.sides(terms))
        else:
            self.scaler.scale(total if share == 1 else share * total).backward()
        values = {name: value.detach() for name, value in terms.items()} | {"loss": total.detach()}
        if not preparing:
            assert outputs is not None
            if outputs.logits is not None and batch.boxes is None:  # None on images without labels
                values["train_accuracy"] = share_right(outputs.logits, batch)
        return values if share == 1 else {name: share * value for name, value in values.items()}

    def _outputs(self, batch: Batch) -> Outputs:
        """The network's outputs for a whole training batch."""
        maps = self.losses.needs_features
        if self.world is not None:
            return self.world.forward(self.network, batch, maps)
        return outputs_of(self.network, batch, maps)

    @torch.no_grad()
    def answers(self, batch: Batch) -> Tensor:
        """The answers on a batch, as `benchbench.training.answers.answers_of`; the model is in eval mode."""
        outputs = self.network(batch.images, eager=True)
        assert outputs.logits is not None
        self.spread.add(outputs.embedding)
        if self.likely is not None and batch.masks is None and batch.boxes is None:
            self.likely.add(outputs.logits)
        return answers_of(self.model, outputs, batch)

    def end_epoch(self, accuracy: float | None) -> None:
        """Adds an epoch to the curve; `accuracy` is that on the validation images, where there are any.

        Raises:
            StageError: a loss, a weight or a buffer of the network is no longer finite.
        """
        epoch = self.position[0]
        row: CurveRow = {"epoch": epoch + 1, **self._means(epoch)}
        require_finite_network(self.model, self._masks, self._epoch_name(epoch))
        if self.world is not None:
            self.world.make_equal(self.model, self.losses, parameters=False)
        self._note_loss(row["loss"])
        self._validation_accuracy = accuracy
        if accuracy is not None:
            row["validation_accuracy"] = accuracy
            if self.best and (self.best_epoch is None or accuracy > self.best_epoch.accuracy):
                kept = self.model.state_dict() if self.average is None else self.average.values
                weights = {name: tensor.clone() for name, tensor in kept.items()}
                self.best_epoch = BestEpoch(epoch + 1, accuracy, weights)
        self.curve.append(row)
        self._report(epoch, self.steps)
        self.position, self._sums = (epoch + 1, 0), {}
        self._stopped = stops_early(self.recipe.early_stop, self.curve)
        if epoch == -1:
            self._new_optimizer()

    def _means(self, epoch: int) -> dict[str, float]:
        """The means of an epoch's losses, all of them finite."""
        # One copy from the device for all of them.
        totals = dict(zip(self._sums, torch.stack(list(self._sums.values())).tolist(), strict=True))
        finite = totals.pop(FINITE_STEPS, self.steps)  # absent from older checkpoints
        means = {name: total / self.steps for name, total in totals.items()}
        first = int(finite) + 1 if finite < self.steps else None
        require_finite_losses(means, first, self.steps, self._epoch_name(epoch))
        return means

    def _epoch_name(self, epoch: int) -> str:
        return f"epoch {epoch + 1}" if epoch >= 0 else "the first stage of a two-stage method"

    def finish(self) -> None:
        """Puts the chosen epoch's weights in, or the average."""
        if self.best and self.best_epoch is not None:
            self.model.load_state_dict(self.best_epoch.weights)
        elif self.average is not None:
            self.average.apply()

    def evaluated(self) -> contextlib.AbstractContextManager[None]:
        """The context in which the network has the weights that are evaluated: their average, where there is one."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def _report(self, epoch: int, step: int) -> None:
        done = (epoch + self.preparation) * self.steps + step
        total = (self.recipe.epochs + self.preparation) * self.steps
        progress = Progress(
            done=done,
            total=total,
            epoch=max(epoch + 1, 0),
            epochs=self.recipe.epochs,
            loss=self._loss,
            validation_accuracy=self._validation_accuracy,
        )
        self.report(progress)

    def save(self) -> None:
        """Writes a checkpoint; the clock has been settled before."""
        state: MemberState = {
            "epoch": self.position[0],
            "step": self.position[1],
            "gradients": None if self.gradients is None else self.gradients.model_dump(),
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
            "processes": self._processes,
            "execution": self.execution.record().model_dump(mode="json"),
            "teachers": {
                role: record.model_dump(mode="json")
                for role, record in self.teacher_executions.items()
                if isinstance(record, ExecutionRecord)
            },
        }
        if self.average is not None:
            state["average"] = self.average.values
        self.checkpoints.save(state)
