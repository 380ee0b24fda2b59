"""The training loop: one for scratch, linear probe, fine-tuning, distillation, and the adaptation of teachers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.feeds import Feed, steps_per_epoch
from benchbench.errors import StageError
from benchbench.losses.teachers import Lessons
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs
from benchbench.training.checkpoint import Checkpoints
from benchbench.training.optim import make_optimizer, rate_factor, set_rates
from benchbench.training.seeds import derive

Report = Callable[[dict[str, Any]], None]


@dataclass
class Training:
    """One training run.

    Attributes:
        model: what is trained.
        teachers: frozen; none without distillation.
        losses: the weighted sum of losses.
        train: the training images.
        validation: the held-out ones; None without any.
        recipe: the full recipe, as JSON.
        seed: of order, augmentation, dropout, negatives.
        best: whether to keep the epoch that is best on the validation images; else the last.
        device: where it runs.
        checkpoints: where the unfinished run is kept.
        report: called with progress a few times a second.
        seconds: the wall-clock ledger, by what the time went to.
        curve: one entry an epoch; those of a two-stage method's first stage have numbers up to 0.
    """

    model: Backbone
    teachers: Sequence[Backbone]
    losses: Lessons
    train: Feed
    validation: Feed | None
    recipe: Mapping[str, Any]
    seed: int
    best: bool
    device: torch.device
    checkpoints: Checkpoints
    report: Report
    seconds: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: dict[str, Any] | None = None

    def run(self, state: dict[str, Any] | None) -> None:
        """Trains from a checkpoint's state, or from the start, to the last epoch; leaves the chosen weights in.

        Raises:
            StageError: a loss is no longer finite.
        """
        if self.recipe["precision"] == "fp16" and self.device.type != "cuda":
            raise StageError("precision fp16 needs a GPU; use bf16 or fp32 on the CPU")
        self._new_optimizer()
        self.steps = steps_per_epoch(len(self.train.labels), self.recipe["batch_size"])
        epoch, step, sums = self._restore(state) if state else (-self.preparation, 0, {})
        while epoch < self.recipe["epochs"]:
            with self.timed("train" if epoch >= 0 else "preparation"):
                sums = self._epoch(epoch, step, sums)
            self._close_epoch(epoch, sums)
            epoch, step, sums = epoch + 1, 0, {}
            if epoch == 0:
                self._new_optimizer()
            if self.checkpoints.due():
                self._save(epoch, step, sums)
        if self.best and self.best_epoch is not None:
            self.model.load_state_dict(self.best_epoch["weights"])

    @property
    def preparation(self) -> int:
        """Epochs of the first stage of a two-stage method; they are numbered from -preparation to -1."""
        # Rounded first: 0.07 x 100 is 7.000000000000001.
        return math.ceil(round(self.losses.preparation * self.recipe["epochs"], 9))

    def _new_optimizer(self) -> None:
        self.optimizer = make_optimizer(self.model, self.losses, self.recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.recipe["precision"] == "fp16")

    def _epoch(self, epoch: int, start: int, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        self.model.train()
        batches = self.train.train_batches(self.seed, epoch, self.recipe["batch_size"], start)
        last_report = 0.0
        for step, batch in enumerate(batches, start):
            # Dropout and negatives draw from the global generator; seeding it by step leaves no state to checkpoint.
            torch.manual_seed(derive(self.seed, "step", epoch, step))
            batch.epoch = epoch + step / self.steps
            factor = rate_factor(self.recipe, batch.epoch) if epoch >= 0 else self.losses.preparation_rate
            set_rates(self.optimizer, factor)
            for name, value in self._step(batch, preparing=epoch < 0).items():
                # A new tensor, since a checkpoint may still hold the old one.
                sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64, device=self.device)) + value
            if time.monotonic() - last_report > 0.3:
                last_report = time.monotonic()
                self._report(epoch, step + 1)
            if self.checkpoints.due():
                self._save(epoch, step + 1, sums)
        return sums

    def _step(self, batch: Batch, preparing: bool) -> dict[str, Tensor]:
        if self.recipe["channels_last"]:
            batch.images = batch.images.contiguous(memory_format=torch.channels_last)
        features = self.losses.needs_features
        with self.autocast():
            with torch.no_grad():
                taught = [teacher(batch.images, features) for teacher in self.teachers]
            outputs: Outputs | None = None
            if not preparing or self.losses.prepares_student:
                outputs = self.model(batch.images, features)
            if preparing:
                total, terms = self.losses.prepare(outputs, taught, batch)
            else:
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

    def _close_epoch(self, epoch: int, sums: dict[str, Tensor]) -> None:
        means = {name: float(value) / self.steps for name, value in sums.items()}
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            names = ", ".join(name for name in broken if name != "loss") or "loss"
            where = f"epoch {epoch + 1}" if epoch >= 0 else "the first stage of a two-stage method"
            raise StageError(
                f"loss is {means['loss']} in {where} (terms: {names}); lower the rate or the term's weight"
            )
        row: dict[str, Any] = {"epoch": epoch + 1, **means}
        if self.validation is not None and epoch >= 0:
            with self.timed("evaluation"):
                row["validation_accuracy"] = float(correct_by_example(self, self.validation).mean())
            if self.best and (self.best_epoch is None or row["validation_accuracy"] > self.best_epoch["accuracy"]):
                weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
                self.best_epoch = {"epoch": epoch + 1, "accuracy": row["validation_accuracy"], "weights": weights}
        self.curve.append(row)
        self._report(epoch, self.steps)

    def _report(self, epoch: int, step: int) -> None:
        done = (epoch + self.preparation) * self.steps + step
        total = (self.recipe["epochs"] + self.preparation) * self.steps
        self.report({"done": done, "total": total, "epoch": max(epoch + 1, 0), "epochs": self.recipe["epochs"]})

    def _save(self, epoch: int, step: int, sums: dict[str, Tensor]) -> None:
        with self.timed("checkpoint"):
            self.checkpoints.save(
                {
                    "epoch": epoch,
                    "step": step,
                    "sums": sums,
                    "model": self.model.state_dict(),
                    "losses": self.losses.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "best_epoch": self.best_epoch,
                    "curve": self.curve,
                    "seconds": self._seconds_now(),
                    "threads": torch.get_num_threads(),
                }
            )

    def _restore(self, state: dict[str, Any]) -> tuple[int, int, dict[str, Tensor]]:
        self.model.load_state_dict(state["model"])
        self.losses.load_state_dict(state["losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_epoch, self.curve = state["best_epoch"], state["curve"]
        for name, value in state["seconds"].items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value
        return state["epoch"], state["step"], {name: value.to(self.device) for name, value in state["sums"].items()}

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.recipe["precision"])
        return torch.autocast(self.device.type, kind) if kind else contextlib.nullcontext()

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Books wall-clock seconds under a name; a nested block's time is booked under its own name alone."""
        outer = self._open[-1] if self._open else None
        self._book(outer)
        self._open.append(name)
        try:
            yield
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self._book(name)
            self._open.pop()

    def __post_init__(self) -> None:
        self._open: list[str] = []
        self._since = time.perf_counter()

    def _book(self, name: str | None) -> None:
        now = time.perf_counter()
        if name is not None:
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def _seconds_now(self) -> dict[str, float]:
        self._book(self._open[-1] if self._open else None)
        return dict(self.seconds)


@torch.no_grad()
def correct_by_example(training: Training, feed: Feed) -> np.ndarray:
    """Whether the model's top class is right, for each image of a feed in order: [N], bool."""
    training.model.eval()
    correct = []
    for batch in feed.test_batches(training.recipe["batch_size"]):
        images = batch.images
        if training.recipe["channels_last"]:
            images = images.contiguous(memory_format=torch.channels_last)
        with training.autocast():
            logits = training.model(images).logits
        correct.append(logits.argmax(1) == batch.labels)
    return torch.cat(correct).cpu().numpy()
