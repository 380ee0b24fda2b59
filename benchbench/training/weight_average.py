"""An exponential moving average of a network's weights, which is evaluated and kept in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from benchbench.training.finite import broken_tensors

WARMUP_POWER = 2 / 3


class WeightAverage:
    """a <- d a + (1 - d) w after every step, for every weight w and every buffer of floating-point numbers.

    The running statistics of batch normalisation are averaged like weights; buffers of whole numbers are copied. So do
    timm's `ModelEmaV3` by default and torchvision's training script. Infinite entries of a mask are copied too, whose
    average would be no number. The first step's weights are copied, as both of timm's and torch's averages begin with
    them. With a warm-up, d is at most 1 - (1 + t)^(-2/3) after step t (from 0), timm's formula with its defaults.

    Attributes:
        values: the average, by the names of the network's state.
    """

    def __init__(self, model: nn.Module, decay: float, warmup: bool):
        """`model`: its tensors stay where they are from here on; `decay`: d, in 0..1."""
        self._live: dict[str, Tensor] = dict(model.state_dict())  # in the network's own memory
        self.values = {name: tensor.clone() for name, tensor in self._live.items()}
        self._decay, self._warmup = decay, warmup
        floating = [name for name, tensor in self._live.items() if tensor.is_floating_point()]
        self._averaged = [self.values[name] for name in floating], [self._live[name] for name in floating]
        self._copied = self._live.keys() - set(floating)
        self._masks = [name for name in broken_tensors(model) if name in self.values]

    def decay(self, step: int) -> float:
        """d after a step, by its number from 0."""
        if step == 0:
            return 0.0
        return min(self._decay, 1 - (1 + step) ** -WARMUP_POWER) if self._warmup else self._decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights in that a step has made."""
        get_ema_multi_avg_fn(self.decay(step))(*self._averaged, step)
        for name in self._copied:
            self.values[name].copy_(self._live[name])
        for name in self._masks:
            value = self.values[name]
            value.copy_(torch.where(value.isfinite(), value, self._live[name]))

    def load(self, values: dict[str, Tensor]) -> None:
        """Puts a checkpoint's average in."""
        _copy(values, self.values)

    def apply(self) -> None:
        """Gives the network the average in the place of its weights."""
        _copy(self.values, self._live)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The same in here alone."""
        weights = {name: tensor.clone() for name, tensor in self._live.items()}
        self.apply()
        try:
            yield
        finally:
            _copy(weights, self._live)


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
