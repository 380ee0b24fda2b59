"""The weighted sum of a suite's losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from benchbench.components import Registry
from benchbench.data.batch import Batch
from benchbench.errors import PluginError, StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.models.outputs import Outputs
from benchbench.specs.parts import LossSpec

# The weighted sum, and every term by name, unweighted.
LossValue = tuple[Tensor, dict[str, Tensor]]
RESERVED = frozenset({"epoch", "loss", "train_accuracy", "validation_accuracy"})


class LossSum(nn.Module):
    """Several losses as one; owns their projectors and memory banks.

    Attributes:
        needs_features: whether any of them reads the maps between stages.
    """

    def __init__(self, losses: Sequence[LossSpec], registry: Registry, context: LossContext):
        super().__init__()
        self.parts = nn.ModuleDict()
        self.entries: list[tuple[str, float, Callable[..., Any]]] = []
        # Losses that see no generated image.
        self.real_only = frozenset(loss.name for loss in losses if loss.images == "real")
        self.needs_features = False
        for spec in losses:
            if spec.name in RESERVED:
                raise PluginError(f"a loss cannot be called '{spec.name}': that is a column of the training curve")
            component = registry.get("loss", spec.name)
            self.needs_features |= "features" in component.needs
            target = component.load()
            loss: Callable[..., Any] = partial(target, **spec.arguments)
            if inspect.isclass(target):
                loss = self.parts[spec.name] = loss(context)
            self.entries.append((spec.name, spec.weight, loss))

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every term by "loss" or "loss.term", unweighted."""
        if not self.real_only or batch.synthetic is None:
            values = [(name, weight, loss(student, teacher, batch)) for name, weight, loss in self.entries]
            return _weighted(values, batch)
        real = (~batch.synthetic).nonzero().squeeze(1)
        alone = student.part(real), teacher.part(real) if teacher else None, batch.part(real)
        values = []
        for name, weight, loss in self.entries:
            seen = alone if name in self.real_only else (student, teacher, batch)
            if len(seen[2].labels):  # a batch of generated images alone says nothing to the others
                values.append((name, weight, loss(*seen)))
        return _weighted(values, batch)

    def preparing(self) -> list[Loss]:
        """The losses that have a first stage."""
        return [loss for loss in self.parts.values() if isinstance(loss, Loss) and loss.prepares != "nothing"]

    def prepare(
        self, student: Outputs | None, teacher: Outputs | None, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same of the first stage: unweighted, since a weight balances a loss against others in the training.

        The losses that have no such stage stay out of it.
        """
        values = [
            (name, 1.0, loss.prepare(student if loss.prepares == "student" else None, teacher, batch))
            for name, _, loss in self.entries
            if isinstance(loss, Loss) and loss.prepares != "nothing"
        ]
        return _weighted(values, batch)


def _weighted(values: Sequence[tuple[str, float, Any]], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    terms: dict[str, Tensor] = {}
    total = batch.images.new_zeros(())
    for name, weight, value in values:
        named = value if isinstance(value, dict) else {name: value}
        if not named or not all(isinstance(scalar, Tensor) and scalar.ndim == 0 for scalar in named.values()):
            raise StageError(f"loss '{name}' gave {_shape(value)}; it must give a scalar tensor, or a dict of them")
        for term, scalar in named.items():
            terms[name if term == name else f"{name}.{term}"] = scalar
            total = total + weight * scalar
    return total, terms


def _shape(value: Any) -> str:
    """What a loss gave, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_shape(item)}' for name, item in value.items())}}}"
    return f"a {type(value).__name__}"
