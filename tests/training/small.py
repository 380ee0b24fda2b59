"""What tests of training share: a few small images, states to compare, checkpoints at every step, and a clock."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchbench.data.images import ImageDataset
from benchbench.data.sources.common import ArrayImages
from benchbench.training import clock, loop
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.loop import Training, correct_by_example

CPU = torch.device("cpu")
CLASSES, SIDE, BATCH, EPOCHS = 3, 8, 4, 3
CRD = {"name": "crd", "params": {"dim": 4, "negatives": 7}, "weight": 0.5}
SIMCLR = {"name": "align_uniform", "params": {"projector": "simclr", "dim": 4}, "weight": 2.0}


def coloured(count: int) -> ImageDataset:
    """Classes that differ in colour, with noise: learnt within a few steps, but not at once."""
    random = np.random.RandomState(0)
    labels = random.randint(0, CLASSES, count)
    array = random.randint(0, 140, (count, SIDE, SIDE, 3))
    array[np.arange(count), :, :, labels] += 70
    return ImageDataset(labels.astype(np.int64), ("a", "b", "c"), ArrayImages(array), array.astype(np.uint8))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def flat(value: Any, place: str = "") -> dict[str, Tensor]:
    """Every leaf of a nested state by its place."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{place}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, item in enumerate(value) for k, v in flat(item, f"{place}/{key}").items()}
    return {place: value if isinstance(value, Tensor) else torch.tensor(float(value or 0))}


def assert_same_end(found: Training, expected: Training) -> None:
    """Two trainings are at their ends, with the same weights, losses' parts, optimiser, curve and answers."""
    assert found.done
    states = [
        flat([run.model.state_dict(), run.losses.state_dict(), run.optimizer.state_dict(), run.best_epoch])
        for run in (found, expected)
    ]
    assert states[0].keys() == states[1].keys()
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    assert found.curve == expected.curve
    assert np.array_equal(*(correct_by_example(run, run.validation) for run in (found, expected)))


class EveryStep(Checkpoints):
    """Saves at every opportunity and keeps each checkpoint by its epoch and step."""

    def __init__(self, folder):
        super().__init__(folder, interval=0)
        self.kept: dict[tuple[int, int], bytes] = {}

    def save(self, state):
        super().save(state)
        self.kept[state["epoch"], state["step"]] = self.folder.checkpoint.read_bytes()


class Passing:
    """Time that passes only where the test says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for module in (clock, loop):
            monkeypatch.setattr(
                module, "time", types.SimpleNamespace(perf_counter=lambda: self.now, monotonic=lambda: self.now)
            )

    def slow(self, owner: Any, name: str, seconds: float) -> None:
        """Every call takes as long; of a generator, every item."""
        real = getattr(owner, name)

        def call(*args, **kwargs):
            result = real(*args, **kwargs)
            if not isinstance(result, types.GeneratorType):
                self.now += seconds
                return result
            return (item for item in result if not self.pass_by(seconds))

        setattr(owner, name, call)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
