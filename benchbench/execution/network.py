"""A backbone together with its execution configuration, and the deviation of its outputs that this causes."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from benchbench.execution.agreement import CHUNK, ROUNDING, Sample, changed_classes, deviation
from benchbench.execution.compiled import compiled
from benchbench.execution.depthwise import DepthwiseMode
from benchbench.execution.folding import fold_batch_norm
from benchbench.execution.tf32 import tf32_convolutions
from benchbench.models.backbone import Backbone
from benchbench.models.detection import task_loss
from benchbench.models.outputs import Outputs
from benchbench.specs.records import ExecutionRecord

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Images on which the values of outputs are compared; their classes are on all of a sample.
FEW = 16
# Largest `deviation` of a frozen network's outputs that a lower precision may cause whatever their classes are: bf16
# moves those of trained networks by 0.01 to 0.05, and losses read more of them than classes.
FAR = 0.25
# Most that a lower precision may add to the mean loss of a training's first steps. bf16 moves that of nine usual
# networks by -0.07 to 0.02, and the order of sums alone by -0.04 to 0.03.
LOSS_RISE = 0.1
NONE_REFUSED: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class ExecutionConfig:
    """The way one network is run on one device. The default is a plain PyTorch loop's.

    Attributes:
        precision: of the forward and backward pass; below fp32 by autocast.
        channels_last: whether images and weights lie in memory as NHWC.
        fold_bn: whether a frozen network's batch normalisation is folded into its convolutions.
        depthwise: signatures of the depthwise convolutions whose weight gradient is taken tap by tap.
        compile: mode of `torch.compile`; None runs eagerly.
        threads: CPU threads; None takes all that the worker has.
        tf32: whether convolutions in float32 may round their inputs to TF32, as the stage has set it for its process.
    """

    precision: Precision = "fp32"
    channels_last: bool = False
    fold_bn: bool = False
    depthwise: tuple[str, ...] = ()
    compile: str | None = None
    threads: int | None = None
    tf32: bool = False

    @staticmethod
    def of(record: ExecutionRecord) -> ExecutionConfig:
        """The configuration that a record tells of."""
        return ExecutionConfig(**{field.name: getattr(record, field.name) for field in fields(ExecutionConfig)})

    def record(
        self,
        deviation: float | None = None,
        refused: Mapping[str, float] = NONE_REFUSED,
        changed: float | None = None,
    ) -> ExecutionRecord:
        """The configuration for a stage's record; arguments as the attributes of `ExecutionRecord`."""
        return ExecutionRecord(**asdict(self), deviation=deviation, changed=changed, refused=dict(refused))

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


class ConfiguredModel:
    """A backbone as it is run: called like the backbone, on images as a loader gives them.

    Attributes:
        model: the backbone; its parameters, mode and state are those of the network.
        config: the way it is run.
        widen: whether outputs of a lower precision are given in float32.
    """

    def __init__(self, model: Backbone, config: ExecutionConfig, device: torch.device, widen: bool = False):
        self.model = model.to(device).to(memory_format=config.memory_format)
        self.config, self.device, self.widen = config, device, widen
        self._compiled = compiled(model, config.compile) if config.compile else None
        self._compiled_size: int | None = None

    def __call__(self, images: Tensor, features: bool = False, eager: bool = False) -> Outputs:
        """One forward pass; `eager` leaves a compiled network aside, as do batches of another size than the first."""
        config = self.config
        if config.channels_last and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        depthwise = DepthwiseMode(config.depthwise) if config.depthwise else contextlib.nullcontext()
        with self.autocast(), depthwise:
            outputs: Outputs = (self.model if eager else self._forward_of(len(images)))(images, features)
        return outputs.each(Tensor.float) if self.widen and config.precision != "fp32" else outputs

    def _forward_of(self, count: int) -> Callable[[Tensor, bool], Outputs]:
        """The compiled forward pass for the number of images of the first batch; a last batch would not be worth it."""
        if self._compiled is None:
            return self.model
        self._compiled_size = self._compiled_size or count
        return self._compiled if count == self._compiled_size else self.model

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which this network's outputs are computed, and a loss on them."""
        dtype = DTYPES.get(self.config.precision)
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()


@torch.no_grad()
def frozen_as(model: Backbone, config: ExecutionConfig, images: Tensor) -> ConfiguredModel:
    """A copy of a frozen network, run by a configuration whatever that does to its outputs.

    Args:
        model: in eval mode.
        config: the way.
        images: a few, on the device that the network is to run on.
    """
    network = ConfiguredModel(copy.deepcopy(model), config, images.device, widen=True)
    if config.fold_bn:
        fold_batch_norm(network.model, images[:2])
    return network


@torch.no_grad()
def frozen_network(
    model: Backbone, config: ExecutionConfig, sample: Sample, tolerance: float, features: bool = False
) -> tuple[ConfiguredModel, ExecutionRecord]:
    """A frozen network, run by a configuration as far as its outputs allow it; the model itself stays as it is.

    Args:
        model: in eval mode.
        config: measured to be fast.
        sample: real images, on the device that the network is to run on; outputs are compared on them without TF32.
        tolerance: largest share of the images whose class a lower precision may change; a change in the order of sums
            alone may cause a `deviation` of `ROUNDING`.
        features: whether the maps between stages count too.
    """
    device = sample.images.device
    plain = ConfiguredModel(model, ExecutionConfig(tf32=config.tf32, threads=config.threads), device)
    if config == plain.config:
        return plain, config.record(deviation=0.0)
    with tf32_convolutions(device, allowed=False):
        # Not on a GPU, whose graphs would keep the kernels without TF32; nor for many images of a lower precision.
        compiled = config.compile is not None and config.precision == "fp32" and device.type != "cuda"
        comparison = _Comparison(plain, compiled, sample, tolerance, features)
        refused: dict[str, float] = {}
        # From the fastest down to what is left when a choice moves the results too far.
        for name, attempt in (
            ("as measured", config),
            ("without low precision", replace(config, precision="fp32")),
            ("without folding", replace(config, precision="fp32", fold_bn=False)),
        ):
            if attempt == config and name != "as measured":
                continue
            network = frozen_as(model, attempt, sample.images)
            effect = comparison.effect(network)
            if effect.objection is None:
                return network, attempt.record(effect.deviation, refused, effect.changed)
            refused[attempt.precision if attempt.precision != "fp32" else name] = effect.objection
    return plain, plain.config.record(0.0, refused)


class _Effect(NamedTuple):
    """The effect of a configuration on a frozen network's outputs.

    Attributes:
        deviation: from plain float32.
        changed: share of the images whose class it changes; None where that was not asked, in float32.
        objection: that of the two which is too large; None where none is.
    """

    deviation: float
    changed: float | None
    objection: float | None


class _Comparison:
    """The comparison of a frozen network's outputs with those of plain float32; arguments as of `frozen_network`."""

    def __init__(self, plain: ConfiguredModel, compiled: bool, sample: Sample, tolerance: float, features: bool):
        self.plain, self.sample, self.tolerance, self.features = plain, sample, tolerance, features
        # A compiled network takes as many images as a sample for it has.
        self.eager = not compiled
        self.images = sample.images if compiled else sample.images[:FEW]
        self.expected = plain(self.images, features)

    def effect(self, network: ConfiguredModel) -> _Effect:
        moved = deviation(network(self.images, self.features, eager=self.eager), self.expected)
        if network.config.precision == "fp32":
            return _Effect(moved, None, None if moved <= ROUNDING else moved)
        changed = changed_classes(lambda images: network(images, eager=True), self.plain, self.sample)
        limits = (changed, self.tolerance), (moved, FAR if self.tolerance < 1 else math.inf)
        objections = [value for value, limit in limits if not value <= limit]
        return _Effect(moved, changed, objections[0] if objections else None)


class TrainablePrecision(NamedTuple):
    """The configuration of a network that trains, and the mean losses of its first steps in the lower precision and in
    float32."""

    config: ExecutionConfig
    low: float
    full: float


def trainable_precision(model: Backbone, config: ExecutionConfig, sample: Sample) -> TrainablePrecision:
    """The configuration of a network that trains, in float32 where it learns less well in a lower precision.

    Copies of it take the first steps of a training in both. Classes are not compared: in a network that has learnt
    nothing they are nearly tied, and the order of float32 sums changes them too.

    Args:
        model: with a head; stays as it is.
        config: measured to be fast.
        sample: real images with labels, on the device that the network is to run on.
    """
    eager = replace(config, compile=None, depthwise=())
    with tf32_convolutions(sample.images.device, allowed=False):
        low, full = (_first_loss(model, each, sample) for each in (eager, replace(eager, precision="fp32")))
    accepted = math.isfinite(low) and low <= full + LOSS_RISE
    return TrainablePrecision(config if accepted else replace(config, precision="fp32"), low, full)


def _first_loss(model: Backbone, config: ExecutionConfig, sample: Sample) -> float:
    """Mean cross-entropy of a step for each `CHUNK` images, by AdamW with a rate of 0.001."""
    images, labels = sample
    assert labels is not None
    device = images.device
    network = ConfiguredModel(copy.deepcopy(model).train(), config, device)
    optimizer = torch.optim.AdamW(part for part in network.model.parameters() if part.requires_grad)
    losses: list[Tensor] = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)  # the same dropout for both
        for batch, classes in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
            if losses and len(batch) == 1:  # a last one, which batch normalisation cannot take
                continue
            outputs = network(batch)
            loss = task_loss(network.model, outputs, classes)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).mean())
