"""Needs of the losses of a training, by their components. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Registry
from benchbench.specs.parts import LossSpec


def losses_with(need: str, losses: Iterable[LossSpec], registry: Registry) -> list[str]:
    """Names of the losses that have a need with their parameters."""
    return [loss.name for loss in losses if need in registry.get("loss", loss.name).needs_of(loss.params)]
