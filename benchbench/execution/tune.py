"""The choice of an execution configuration, by a short measurement on the device that will run the network."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchbench.execution.depthwise import DepthwiseMode, Pair, weight_gradient
from benchbench.execution.folding import fold_batch_norm
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.execution.tf32 import has_tf32
from benchbench.execution.timing import GraphedSteps, Step, step_seconds
from benchbench.models.backbone import Backbone
from benchbench.models.detection import some_boxes, task_loss

# A choice must be this much faster than the plainer one, or timing noise would decide what a run's last bits are.
GAIN = 0.97
ROUNDS, ROUND_SECONDS = 3, 1.0
# Steps that take longer than this are measured on a quarter of the batch, and once.
LONG_STEP = 2.0
# Compilation takes a minute or two, so it is only looked at where the run is longer than this (seconds).
WORTH_COMPILING, WORTH_COMPILING_ON_GPU = 1200.0, 200.0


@dataclass(frozen=True)
class TuningConstraints:
    """Limits to the choice: None leaves a field to the measurement.

    Attributes:
        trained: whether the network trains (forward, backward), or is frozen (forward alone).
        precision: "fp32", "bf16", "fp16"; None where a lower one may be chosen.
        channels_last, fold_bn, compile: True or False where the recipe fixes them.
        steps: length of the run, which decides whether compiling can pay.
        threads: CPU threads at hand.
    """

    trained: bool
    precision: str | None
    channels_last: bool | None
    fold_bn: bool | None
    compile: bool | None
    steps: int
    threads: int


def tune(model: Backbone, images: Tensor, constraints: TuningConstraints) -> tuple[ExecutionConfig, dict[str, float]]:
    """The fastest configuration of a network, and the seconds of one step by the name of each configuration tried.

    Every candidate stands beside the best one so far and the two take turns, so that a busy machine slows both.

    Args:
        model: with a task head; frozen where it does not train. It is not changed.
        images: a batch [B, 3, H, W] on the device.
        constraints: limits to the choice.
    """
    return _Tuning(model, images, constraints).choose()


class _Tuning:
    def __init__(self, model: Backbone, images: Tensor, constraints: TuningConstraints):
        self.model, self.images, self.constraints = model, images, constraints
        self.device = images.device
        self.rounds = ROUNDS
        self.seconds: dict[str, float] = {}
        self._compiled: dict[ExecutionConfig, Step] = {}
        self.best = self.plain = ExecutionConfig(
            precision=constraints.precision or "fp32",  # type: ignore[arg-type]
            tf32=has_tf32(self.device),
        )
        self.best = replace(
            self.plain,
            channels_last=bool(constraints.channels_last),
            fold_bn=bool(constraints.fold_bn) and not constraints.trained,
        )

    def choose(self) -> tuple[ExecutionConfig, dict[str, float]]:
        constraints = self.constraints
        step = self._step(self.best)
        step()
        if step_seconds(step, self.device) > LONG_STEP:
            self.images, self.rounds = self.images[: max(8, len(self.images) // 4)], 1
        self._try("plain", self.best)
        if constraints.precision is None and self.device.type == "cuda":
            self._prefer_bf16()
        if constraints.channels_last is None:
            layout = "not channels_last" if self.best.channels_last else "channels_last"
            name = f"{self.best.precision}, {layout}" if self.best.precision != self.plain.precision else layout
            self._try(name, replace(self.best, channels_last=not self.best.channels_last))
        if constraints.fold_bn is None and not constraints.trained:
            self._try("fold_bn", replace(self.best, fold_bn=True))
        if constraints.trained and self.device.type == "cpu" and self.best.precision == "fp32":
            signatures = _slow_depthwise(self.model, self.images, self.best)
            if signatures:
                self._try("depthwise", replace(self.best, depthwise=signatures))
        if constraints.precision is None and self.device.type != "cuda":
            self._try_bf16()
        if constraints.threads > 1 and self.device.type == "cpu":
            self._try("one thread", replace(self.best, threads=1))
        if constraints.compile or (constraints.compile is None and self._compiling_pays()):
            self._try_compiled()
        times = self._race(self.best, self.plain) if self.best != self.plain else self._race(self.plain) * 2
        self.seconds["chosen"], self.seconds["plain"] = (statistics.median(seconds) for seconds in times)
        self.seconds["chosen, an image"] = self.seconds["chosen"] / len(self.images)
        return self.best, self.seconds

    def _try(self, name: str, candidate: ExecutionConfig) -> None:
        """Takes the candidate where it is faster than the best so far."""
        if name == "plain":
            self.seconds[name] = statistics.median(self._race(self.best)[0])
            return
        times = self._race(candidate, self.best)
        self.seconds[name] = statistics.median(times[0])
        if _ratio(times) < GAIN:
            self.best = candidate

    def _race(self, *configs: ExecutionConfig) -> list[list[float]]:
        """Seconds of steps of each configuration; they take turns."""
        steps: list[Step] = [self._step(config) for config in configs]
        if self.device.type == "cuda" and self.constraints.compile is not False and configs[0].precision != "fp16":
            steps = [*map(GraphedSteps(self.device), steps)]
        for step in steps:
            step()  # allocations and kernel choices happen once
        times: list[list[float]] = [[] for _ in configs]
        while len(times[0]) < self.rounds or (sum(map(sum, times)) < ROUND_SECONDS and len(times[0]) < 5 * ROUNDS):
            for config, step, seconds in zip(configs, steps, times, strict=True):
                seconds.append(self._timed(config, step))
        return times

    def _timed(self, config: ExecutionConfig, step: Step) -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(config.threads or self.constraints.threads)
        try:
            return step_seconds(step, self.device)
        finally:
            torch.set_num_threads(before)

    def _prefer_bf16(self) -> None:
        """Takes bf16 on a GPU that computes in it, with channels_last where that is open, if float32 is no faster."""
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return
        fixed = self.constraints.channels_last
        for channels_last in (True, False) if fixed is None else (fixed,):
            candidate = replace(self.best, precision="bf16", channels_last=channels_last)
            times = self._race(candidate, self.best)
            self.seconds["bf16, channels_last" if channels_last else "bf16"] = statistics.median(times[0])
            if _ratio(times[::-1]) >= GAIN:
                plain, self.best = self.best, candidate
                if channels_last is not plain.channels_last:
                    self._try("channels_last", replace(candidate, precision="fp32"))
                return

    def _try_bf16(self) -> None:
        """bf16 where a CPU computes in it; one that only emulates it takes many times as long, also of two images."""
        candidate = replace(self.best, precision="bf16", depthwise=())
        few = self.images[:2]
        for config in (candidate, self.best):
            self._step(config, few)()
        low, full = (step_seconds(self._step(config, few), self.device) for config in (candidate, self.best))
        self.seconds["bf16, of fp32, on two images"] = low / full
        if low < full:
            self._try("bf16", candidate)

    def _compiling_pays(self) -> bool:
        if self.device.type == "mps":  # PyTorch compiles for it as a prototype
            return False
        if self.device.type == "cuda":
            return self.constraints.steps * min(self.seconds.values()) > WORTH_COMPILING_ON_GPU
        return self.constraints.steps * self.seconds["plain"] > WORTH_COMPILING

    def _try_compiled(self) -> None:
        # A mode without graphs of its own: on a GPU the whole step becomes one.
        candidate = replace(self.best, compile="default", depthwise=())
        if self.constraints.compile:
            self.best = candidate
            return
        begun = time.perf_counter()
        try:
            self._step(candidate)()
        except Exception as error:  # compilers raise many kinds; running eagerly always works
            print(f"not compiled: {type(error).__name__}: {str(error)[:500]}")
            return
        self.seconds["compiling"] = time.perf_counter() - begun
        times = self._race(candidate, self.best)
        self.seconds["compile"], before = (statistics.median(seconds) for seconds in times)
        saved = self.constraints.steps * (before - self.seconds["compile"])
        if _ratio(times) < GAIN and saved > self.seconds["compiling"]:  # every training compiles it again
            self.best = candidate

    def _step(self, config: ExecutionConfig, images: Tensor | None = None) -> Step:
        if config.compile is None:
            return self._new_step(config, self.images if images is None else images)
        if config not in self._compiled:
            self._compiled[config] = self._new_step(config, self.images)
        return self._compiled[config]

    def _new_step(self, config: ExecutionConfig, images: Tensor) -> Step:
        network = ConfiguredModel(copy.deepcopy(self.model), config, self.device)
        if config.fold_bn:
            fold_batch_norm(network.model, images[:2])
        labels = torch.arange(len(images), device=self.device) % (self.model.classes or 1)

        def forward() -> None:
            with torch.no_grad():
                network(images)

        def train() -> None:
            network.model.train()
            outputs = network(images)
            logits = outputs.logits
            assert logits is not None
            network.model.zero_grad(set_to_none=True)
            targets = labels if logits.dim() == 2 else labels.view(-1, 1, 1).expand(-1, *images.shape[-2:])
            if outputs.boxes is not None:
                targets = some_boxes(len(images), images.shape[-1], images.device)
            task_loss(network.model, outputs, targets).backward()

        return train if self.constraints.trained else forward


def _ratio(times: list[list[float]]) -> float:
    """The first of two ways' seconds, of the second's; by pairs: what slows the machine for a while slows both."""
    return statistics.median(ours / theirs for ours, theirs in zip(*times, strict=True))


def _slow_depthwise(model: Backbone, images: Tensor, config: ExecutionConfig) -> tuple[str, ...]:
    """Signatures of the depthwise convolutions whose weight gradient is faster tap by tap."""
    layers: dict[str, tuple[Tensor, Tensor, Pair, Pair]] = {}

    def remember(name: str, inputs: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> None:
        layers.setdefault(name, (inputs.detach().clone(), weight.detach(), stride, padding))

    with torch.no_grad(), DepthwiseMode((), remember):
        ConfiguredModel(copy.deepcopy(model).eval(), config, images.device)(images)
    return tuple(sorted(name for name, layer in layers.items() if _taps_are_faster(*layer)))


def _taps_are_faster(images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    gradient = torch.randn_like(torch.conv2d(images, weight, None, stride, padding, 1, len(weight)))
    settings = (stride, padding, (1, 1), False, (0, 0), len(weight), (False, True, False))
    kernel = (weight.shape[2], weight.shape[3])

    def library() -> None:
        torch.ops.aten.convolution_backward(gradient, images, weight, None, *settings)

    def taps() -> None:
        weight_gradient(images, gradient, kernel, stride, padding)

    times: Mapping[Any, list[float]] = {library: [], taps: []}
    for _ in range(ROUNDS + 1):
        for step, seconds in times.items():
            seconds.append(step_seconds(step, images.device))
    return statistics.median(times[taps][1:]) < 0.8 * statistics.median(times[library][1:])
