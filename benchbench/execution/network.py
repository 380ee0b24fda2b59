"""A backbone together with its execution configuration, and the deviation of its outputs that this causes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from benchbench.execution.depthwise import DepthwiseMode
from benchbench.execution.folding import fold_batch_norm
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs
from benchbench.specs.records import ExecutionRecord

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# What the order of float32 sums may move: two memory formats of one network differ by 1e-6 to 1e-5.
ROUNDING = 1e-3
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
    """

    precision: Precision = "fp32"
    channels_last: bool = False
    fold_bn: bool = False
    depthwise: tuple[str, ...] = ()
    compile: str | None = None
    threads: int | None = None

    @staticmethod
    def of(record: ExecutionRecord) -> ExecutionConfig:
        """The configuration that a record tells of."""
        return ExecutionConfig(**{field.name: getattr(record, field.name) for field in fields(ExecutionConfig)})

    def record(self, deviation: float | None = None, refused: Mapping[str, float] = NONE_REFUSED) -> ExecutionRecord:
        """The configuration for a stage's record; arguments as the attributes of `ExecutionRecord`."""
        return ExecutionRecord(**asdict(self), deviation=deviation, refused=dict(refused))

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
        self._forward = torch.compile(model, mode=config.compile) if config.compile else model

    def __call__(self, images: Tensor, features: bool = False, eager: bool = False) -> Outputs:
        """One forward pass; `eager` leaves a compiled network aside, as for batches of many sizes."""
        config = self.config
        if config.channels_last and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        depthwise = DepthwiseMode(config.depthwise) if config.depthwise else contextlib.nullcontext()
        with self.autocast(), depthwise:
            outputs: Outputs = (self.model if eager else self._forward)(images, features)
        if config.compile == "reduce-overhead" and not eager and not torch.is_grad_enabled():
            outputs = _each(outputs, Tensor.clone)  # the next call of a CUDA graph writes into the same memory
        return _each(outputs, Tensor.float) if self.widen and config.precision != "fp32" else outputs

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which this network's outputs are computed, and a loss on them."""
        dtype = DTYPES.get(self.config.precision)
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()


def _each(outputs: Outputs, function: Callable[[Tensor], Tensor]) -> Outputs:
    token, logits = outputs.token_logits, outputs.logits
    return Outputs(
        function(logits) if logits is not None else None,
        function(outputs.embedding),
        [function(value) for value in outputs.features],
        function(token) if token is not None else None,
    )


@torch.no_grad()
def frozen_network(
    model: Backbone, config: ExecutionConfig, sample: Tensor, tolerance: float, features: bool = False
) -> tuple[ConfiguredModel, ExecutionRecord]:
    """A frozen network, run by a configuration as far as its outputs allow it; the model itself stays as it is.

    Args:
        model: in eval mode.
        config: measured to be fast.
        sample: images [B, 3, H, W] in 0..1, on the device that the network is to run on; outputs are compared on them.
        tolerance: largest `deviation` from plain float32 that a lower precision may cause; a change in the order of
            sums alone may cause `ROUNDING`.
        features: whether the maps between stages count too.
    """
    plain = ConfiguredModel(model, replace(ExecutionConfig(), threads=config.threads), sample.device)
    if config == plain.config:
        return plain, config.record(deviation=0.0)
    expected = plain(sample, features)
    refused: dict[str, float] = {}
    # From the fastest down to what is left when a choice moves the results too far.
    for name, attempt in (
        ("as measured", config),
        ("without low precision", replace(config, precision="fp32")),
        ("without folding", replace(config, precision="fp32", fold_bn=False)),
    ):
        if attempt == config and name != "as measured":
            continue
        network = ConfiguredModel(copy.deepcopy(model), attempt, sample.device, widen=True)
        if attempt.fold_bn:
            fold_batch_norm(network.model, sample[:2])
        distance = deviation(network(sample, features), expected)
        if distance <= (ROUNDING if attempt.precision == "fp32" else tolerance):
            return network, attempt.record(distance, refused)
        refused[attempt.precision if attempt.precision != "fp32" else name] = distance
    return plain, plain.config.record(0.0, refused)


@torch.no_grad()
def trainable_precision(
    model: Backbone, config: ExecutionConfig, sample: Tensor, tolerance: float
) -> tuple[ExecutionConfig, float]:
    """The configuration of a training network, in float32 where a lower precision moves its outputs too far.

    Args:
        model: stays as it is.
        config: measured to be fast.
        sample: images [B, 3, H, W] in 0..1, on the device that the network is to run on.
        tolerance: largest `deviation` from float32.

    Returns:
        The configuration, and the `deviation` that the lower precision causes in train mode.
    """
    outputs = []
    for attempt in (config, replace(config, precision="fp32")):
        eager = replace(attempt, compile=None, depthwise=())
        network = ConfiguredModel(copy.deepcopy(model).train(), eager, sample.device, widen=True)
        torch.manual_seed(0)  # the same dropout for both
        outputs.append(network(sample))
    distance = deviation(*outputs)
    return (config if distance <= tolerance else replace(config, precision="fp32")), distance


def deviation(actual: Outputs, expected: Outputs) -> float:
    """Largest relative RMS difference between two outputs' logits, embeddings and maps.

    Relative to the spread of the expected values over the batch, so that a large constant part, such as embeddings
    after a ReLU have, does not hide a difference. Infinite where a value is not finite.
    """
    both = [
        [outputs.logits, outputs.embedding, *outputs.features, outputs.token_logits] for outputs in (actual, expected)
    ]
    largest = 0.0
    for one, other in zip(*both, strict=True):
        if one is None or other is None:
            continue
        one, other = one.double(), other.double()
        if not bool(one.isfinite().all() & other.isfinite().all()):
            return float("inf")
        spread = float((other - other.mean(dim=0)).norm()) or float(other.norm()) or 1.0
        largest = max(largest, float((one - other).norm()) / spread)
    return largest
