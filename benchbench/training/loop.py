"""One training run: scratch, linear probe, fine-tuning, distillation, or the adaptation of a teacher.

`benchbench.training.cohort` takes the steps of one run, or of several side by side.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.loader import Loader
from benchbench.errors import StageError
from benchbench.execution.network import ConfiguredModel, ExecutionConfig, Precision
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs
from benchbench.seeds import derive, seed_everything
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account, Clock
from benchbench.training.optimizers import make_optimizer, rate_factor, set_rates

Report = Callable[[dict[str, Any]], None]
# What a frozen network says of a batch, computed or kept: (batch, whether maps are asked for) -> its outputs.
Teach = Callable[[Batch, bool], Outputs]


@dataclass(eq=False)
class Training:
    """One training run.

    Attributes:
        model: what is trained.
        teachers: frozen; none without distillation.
        losses: the weighted sum of losses.
        train: the training images.
        validation: the held-out ones; None without any.
        recipe: the full recipe, as JSON.
        seed: of dropout and negatives, and of whatever `data_seed` does not draw.
        best: whether to keep the epoch that is best on the validation images; else the last.
        device: where it runs.
        checkpoints: where the unfinished run is kept.
        report: called with progress a few times a second.
        data_seed: of order and augmentation; default: `seed`.
        execution: how the model is run; default: as the recipe fixes it.
        teach: where the teachers' outputs come from; default: the teachers, run as they are.
        account: the wall-clock ledger, by what the time went to.
        curve: one entry an epoch; those of a two-stage method's first stage have numbers up to 0.
        position: the next step: (epoch, step).
    """

    model: Backbone
    teachers: Sequence[Backbone]
    losses: MultiTeacherLoss
    train: Loader
    validation: Loader | None
    recipe: Mapping[str, Any]
    seed: int
    best: bool
    device: torch.device
    checkpoints: Checkpoints
    report: Report
    data_seed: int | None = None
    execution: ExecutionConfig | None = None
    teach: Sequence[Teach] | None = None
    account: Account = field(default_factory=Account)
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: dict[str, Any] | None = None
    position: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        how = self.execution or fixed_execution(self.recipe)
        if how.precision == "fp16" and self.device.type != "cuda":
            raise StageError("precision fp16 needs a GPU; use bf16 or fp32 on the CPU")
        self.network = ConfiguredModel(self.model, how, self.device)
        if self.data_seed is None:
            self.data_seed = self.seed
        if self.teach is None:
            networks = [ConfiguredModel(teacher, how, self.device) for teacher in self.teachers]
            self.teach = [lambda batch, maps, run=run: run(batch.images, maps) for run in networks]  # type: ignore[misc]
        self.steps = self.train.steps(self.recipe["batch_size"])
        self._sums: dict[str, Tensor] = {}
        self._reported = 0.0

    def run(self, state: dict[str, Any] | None) -> None:
        """Trains from a checkpoint's state, or from the start, to the last epoch; leaves the chosen weights in.

        Raises:
            StageError: a loss is no longer finite.
        """
        from benchbench.training.cohort import run_together  # which knows this class

        failed = run_together([self], [state], Clock(self.device))
        if self in failed:
            raise failed[self]

    def begin(self, state: dict[str, Any] | None) -> None:
        """Makes the optimiser; takes up what a checkpoint holds."""
        self._new_optimizer()
        self.position = (-self.preparation, 0)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.losses.load_state_dict(state["losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_epoch, self.curve = state["best_epoch"], state["curve"]
        self.account.carry(state["seconds"], state["alone_seconds"])
        self.position = state["epoch"], state["step"]
        self._sums = {name: value.to(self.device) for name, value in state["sums"].items()}

    @property
    def done(self) -> bool:
        return self.position[0] >= self.recipe["epochs"]

    @property
    def preparation(self) -> int:
        """Epochs of the first stage of a two-stage method; they are numbered from -preparation to -1."""
        # Rounded first: 0.07 x 100 is 7.000000000000001.
        return math.ceil(round(self.losses.preparation * self.recipe["epochs"], 9))

    def _new_optimizer(self) -> None:
        self.optimizer = make_optimizer(self.model, self.losses, self.recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.network.config.precision == "fp16")

    def step(self, batch: Batch, taught: Sequence[Outputs]) -> None:
        """One step of the optimiser, at `position`."""
        epoch, step = self.position
        self.model.train()
        # Dropout and negatives draw from the global generator; seeding it by step leaves no state to checkpoint.
        seed_everything(derive(self.seed, "step", epoch, step), self.device)
        set_rates(self.optimizer, rate_factor(self.recipe, batch.epoch) if epoch >= 0 else self.losses.preparation_rate)
        for name, value in self._learn(batch, taught, preparing=epoch < 0).items():
            # A new tensor, since a checkpoint may still hold the old one.
            self._sums[name] = self._sums.get(name, torch.zeros((), dtype=torch.float64, device=self.device)) + value
        self.position = epoch, step + 1
        if time.monotonic() - self._reported > 0.3:
            self._reported = time.monotonic()
            self._report(epoch, step + 1)

    def _learn(self, batch: Batch, taught: Sequence[Outputs], preparing: bool) -> dict[str, Tensor]:
        outputs: Outputs | None = None
        if not preparing or self.losses.prepares_student:
            outputs = self.network(batch.images, self.losses.needs_features)
        with self.network.autocast():
            if preparing:
                total, terms = self.losses.prepare(outputs, taught, batch)
            else:
                assert outputs is not None
                total, terms = self.losses(outputs, taught, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        values = {name: value.detach() for name, value in terms.items()} | {"loss": total.detach()}
        if not preparing:
            assert outputs is not None
            assert outputs.logits is not None
            values["train_accuracy"] = (outputs.logits.detach().argmax(1) == batch.main_labels).double().mean()
        return values

    def close_epoch(self, accuracy: float | None) -> None:
        """Adds an epoch to the curve; `accuracy` is the validation images', where there are any.

        Raises:
            StageError: a loss is no longer finite.
        """
        epoch = self.position[0]
        # One copy from the device for all of them.
        totals = torch.stack(list(self._sums.values())).tolist()
        means = {name: total / self.steps for name, total in zip(self._sums, totals, strict=True)}
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            names = ", ".join(name for name in broken if name != "loss") or "loss"
            where = f"epoch {epoch + 1}" if epoch >= 0 else "the first stage of a two-stage method"
            raise StageError(
                f"loss is {means['loss']} in {where} (terms: {names}); lower the rate or the term's weight"
            )
        row: dict[str, Any] = {"epoch": epoch + 1, **means}
        if accuracy is not None:
            row["validation_accuracy"] = accuracy
            if self.best and (self.best_epoch is None or accuracy > self.best_epoch["accuracy"]):
                weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
                self.best_epoch = {"epoch": epoch + 1, "accuracy": accuracy, "weights": weights}
        self.curve.append(row)
        self._report(epoch, self.steps)
        self.position, self._sums = (epoch + 1, 0), {}
        if epoch == -1:
            self._new_optimizer()

    def finish(self) -> None:
        """Puts the chosen weights in."""
        if self.best and self.best_epoch is not None:
            self.model.load_state_dict(self.best_epoch["weights"])

    def _report(self, epoch: int, step: int) -> None:
        done = (epoch + self.preparation) * self.steps + step
        total = (self.recipe["epochs"] + self.preparation) * self.steps
        self.report({"done": done, "total": total, "epoch": max(epoch + 1, 0), "epochs": self.recipe["epochs"]})

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
                "best_epoch": self.best_epoch,
                "curve": self.curve,
                "seconds": self.account.here,
                "alone_seconds": self.account.alone,
                "threads": torch.get_num_threads(),
                "execution": self.network.config.record().model_dump(mode="json"),
            }
        )


def fixed_execution(recipe: Mapping[str, Any]) -> ExecutionConfig:
    """How a recipe says that a network is run, where nothing has been measured."""
    precisions: dict[str, Precision] = {"bf16": "bf16", "fp16": "fp16"}
    return ExecutionConfig(precisions.get(recipe["precision"], "fp32"), recipe["channels_last"] is True)


@torch.no_grad()
def correct_by_example(training: Training, loader: Loader) -> np.ndarray:
    """Whether the model's top class is right, for each image of a loader in order: [N], bool."""
    training.model.eval()
    batches = loader.test_batches(training.recipe["batch_size"])
    return torch.cat([correct(training, batch) for batch in batches]).cpu().numpy()


@torch.no_grad()
def correct(training: Training, batch: Batch) -> Tensor:
    """Whether the top class is right, for each image of a batch: [B], bool; the model is in eval mode."""
    logits = training.network(batch.images, eager=True).logits
    assert logits is not None
    return logits.argmax(1) == batch.labels
