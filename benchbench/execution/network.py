"""A backbone together with how it is run, and how far that moves what it gives."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from benchbench.execution.depthwise import DepthwiseMode
from benchbench.execution.folding import fold_batch_norm
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# What the order of float32 sums may move: two memory formats of one network differ by 1e-6 to 1e-5.
ROUNDING = 1e-3


@dataclass(frozen=True)
class ExecutionConfig:
    """How one network is run on one device. The default is a plain PyTorch loop's.

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
    def of(values: Mapping[str, Any]) -> ExecutionConfig:
        """Out of the JSON that `asdict` gave."""
        return ExecutionConfig(**{**values, "depthwise": tuple(values["depthwise"])})

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "depthwise": list(self.depthwise)}

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


class ConfiguredModel:
    """A backbone as it is run: called like the backbone, on images as a loader gives them.

    Attributes:
        model: the backbone; its parameters, mode and state are those of the network.
        how: how it is run.
        widen: whether outputs of a lower precision are given in float32.
    """

    def __init__(self, model: Backbone, how: ExecutionConfig, device: torch.device, widen: bool = False):
        self.model = model.to(device).to(memory_format=how.memory_format)
        self.how, self.device, self.widen = how, device, widen
        self._forward = torch.compile(model, mode=how.compile) if how.compile else model

    def __call__(self, images: Tensor, features: bool = False, eager: bool = False) -> Outputs:
        """One forward pass; `eager` leaves a compiled network aside, as for batches of many sizes."""
        if self.how.channels_last and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        depthwise = DepthwiseMode(self.how.depthwise) if self.how.depthwise else contextlib.nullcontext()
        with self.autocast(), depthwise:
            outputs: Outputs = (self.model if eager else self._forward)(images, features)
        if self.how.compile == "reduce-overhead" and not eager and not torch.is_grad_enabled():
            outputs = _each(outputs, Tensor.clone)  # the next call of a CUDA graph writes into the same memory
        return _each(outputs, Tensor.float) if self.widen and self.how.precision != "fp32" else outputs

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which this network's outputs are computed, and a loss on them."""
        kind = DTYPES.get(self.how.precision)
        return torch.autocast(self.device.type, kind) if kind else contextlib.nullcontext()


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
    model: Backbone,
    how: ExecutionConfig,
    device: torch.device,
    sample: Tensor,
    tolerance: float,
    features: bool = False,
) -> tuple[ConfiguredModel, dict[str, Any]]:
    """A frozen network run as `how` says, as far as its outputs allow it; the model itself stays as it is.

    Args:
        model: in eval mode.
        how: what was measured to be fast.
        sample: images [B, 3, H, W] in 0..1 that the two ways are compared on.
        tolerance: largest `deviation` from plain float32 that a lower precision may cause; what only changes the order
            of sums may cause `ROUNDING`.
        features: whether the maps between stages count too.

    Returns:
        The network, and for the record: how it is run, the deviation, and what was refused for its deviation.
    """
    plain = ConfiguredModel(model, replace(ExecutionConfig(), threads=how.threads), device)
    if how == plain.how:
        return plain, {**how.as_json(), "deviation": 0.0, "refused": {}}
    expected = plain(sample, features)
    refused: dict[str, float] = {}
    # From the fastest down to what is left when a choice moves the results too far.
    for name, attempt in (
        ("as measured", how),
        ("without low precision", replace(how, precision="fp32")),
        ("without folding", replace(how, precision="fp32", fold_bn=False)),
    ):
        if attempt == how and name != "as measured":
            continue
        network = ConfiguredModel(copy.deepcopy(model), attempt, device, widen=True)
        if attempt.fold_bn:
            fold_batch_norm(network.model, sample[:2])
        moved = deviation(network(sample, features), expected)
        if moved <= (ROUNDING if attempt.precision == "fp32" else tolerance):
            return network, {**attempt.as_json(), "deviation": moved, "refused": refused}
        refused[attempt.precision if attempt.precision != "fp32" else name] = moved
    return plain, {**plain.how.as_json(), "deviation": 0.0, "refused": refused}


@torch.no_grad()
def trainable_precision(
    model: Backbone, how: ExecutionConfig, device: torch.device, sample: Tensor, tolerance: float
) -> tuple[ExecutionConfig, float]:
    """How a network is trained, with float32 in the place of a lower precision that moves its outputs too far.

    Returns:
        That, and the `deviation` that the lower precision causes in train mode; the model stays as it is.
    """
    found = []
    for way in (how, replace(how, precision="fp32")):
        network = ConfiguredModel(
            copy.deepcopy(model).train(), replace(way, compile=None, depthwise=()), device, widen=True
        )
        torch.manual_seed(0)  # the same dropout for both
        found.append(network(sample))
    moved = deviation(*found)
    return (how if moved <= tolerance else replace(how, precision="fp32")), moved


def deviation(found: Outputs, expected: Outputs) -> float:
    """How far outputs have moved: the largest relative RMS difference of logits, embedding and maps.

    Relative to the spread of the expected values over the batch, so that a large constant part, such as embeddings
    after a ReLU have, does not hide a difference. Infinite where a value is not finite.
    """
    sides = [
        [outputs.logits, outputs.embedding, *outputs.features, outputs.token_logits] for outputs in (found, expected)
    ]
    largest = 0.0
    for one, other in zip(*sides, strict=True):
        if one is None or other is None:
            continue
        one, other = one.double(), other.double()
        if not bool(one.isfinite().all() & other.isfinite().all()):
            return float("inf")
        spread = float((other - other.mean(dim=0)).norm()) or float(other.norm()) or 1.0
        largest = max(largest, float((one - other).norm()) / spread)
    return largest
