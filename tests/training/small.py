"""Parts that tests of training share: small images, runs, states to compare, checkpoints at every step, a clock."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchbench.data.images import ImageDataset
from benchbench.data.loader import Loader
from benchbench.data.sources.common import ArrayImages
from benchbench.execution.network import ConfiguredModel
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone
from benchbench.specs.parts import RecipeSpec
from benchbench.stages.float32 import fixed_execution
from benchbench.store import StageFolder
from benchbench.training import clock, member
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort, SharedInputs
from benchbench.training.loop import predict, train
from benchbench.training.member import Member
from benchbench.training.member_state import MemberState
from benchbench.training.teachers import LiveTeacher
from tests.specs import loss_spec, recipe_spec

CPU = torch.device("cpu")
CLASSES, SIDE, BATCH, EPOCHS = 3, 8, 4, 3
CRD = loss_spec("crd", 0.5, dim=4, negatives=7)
SIMCLR = loss_spec("align_uniform", 2.0, projector="simclr", dim=4)


@dataclass(eq=False)
class Run(Member):
    """A member with inputs of its own: a cohort of one.

    Attributes:
        inputs: loaders and teachers.
        teachers: the frozen networks.
    """

    inputs: SharedInputs | None = None
    teachers: Sequence[Backbone] = ()

    def run(self, state: MemberState | None = None) -> None:
        """Trains from a checkpoint's state, or from the start; raises the error that ends it."""
        self.state = state
        cohort = Cohort([self], self.inputs, Clock(CPU))
        train(cohort)
        if self in cohort.failures:
            raise cohort.failures[self]

    def hits(self) -> np.ndarray:
        """True for each validation image whose top class is right."""
        cohort = Cohort([self], self.inputs, Clock(CPU))
        return evaluate(cohort, [self], self.inputs.validation)[self]

    def without_validation(self) -> None:
        self.inputs = replace(self.inputs, validation=None)


def evaluate(cohort: Cohort, members: Sequence[Member], loader: Loader) -> dict[Member, np.ndarray]:
    """True for each image of a loader, in order, whose top class is right, by member; without those that fail."""
    labels = loader.labels.numpy()
    return {member: classes == labels for member, classes in predict(cohort, members, loader).items()}


def small_recipe(**changes: Any) -> RecipeSpec:
    return recipe_spec(**{"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "lr": 0.02, **changes})


def make_run(
    model: Backbone,
    losses: MultiTeacherLoss,
    recipe: RecipeSpec,
    loaders: tuple[Loader, Loader | None],
    folder: StageFolder,
    *,
    teachers: Sequence[Backbone] = (),
    seed: int = 1,
    data_seed: int | None = None,
    best: bool = False,
    checkpoints: Checkpoints | None = None,
) -> Run:
    """A run with networks on the CPU; `loaders` are of training and validation images."""
    execution = fixed_execution(recipe.precision, recipe.channels_last)
    live = [LiveTeacher(ConfiguredModel(teacher, execution, CPU)) for teacher in teachers]
    data_seed = seed if data_seed is None else data_seed
    inputs = SharedInputs(*loaders, live, recipe.batch_size, data_seed, CPU)
    return Run(
        model=model,
        losses=losses,
        recipe=recipe,
        steps=inputs.steps,
        seed=seed,
        best=best,
        device=CPU,
        execution=execution,
        checkpoints=checkpoints or Checkpoints(folder, 1e9),
        report=lambda progress: None,
        inputs=inputs,
        teachers=teachers,
    )


def coloured(count: int) -> ImageDataset:
    """Classes that differ in colour, with noise: learnt within a few steps, but not at once."""
    random = np.random.RandomState(0)
    labels = random.randint(0, CLASSES, count)
    array = random.randint(0, 140, (count, SIDE, SIDE, 3))
    array[np.arange(count), :, :, labels] += 70
    return ImageDataset(labels.astype(np.int64), ("a", "b", "c"), ArrayImages(array), array.astype(np.uint8))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return actual.keys() == expected.keys() and all(torch.equal(actual[name], expected[name]) for name in expected)


def flat(value: Any, path: str = "") -> dict[str, Tensor]:
    """Every leaf of a nested state by its path."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{path}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, item in enumerate(value) for k, v in flat(item, f"{path}/{key}").items()}
    return {path: value if isinstance(value, Tensor) else torch.tensor(float(value or 0))}


def assert_same_end(actual: Run, expected: Run) -> None:
    """Two runs are at their ends, with the same weights, losses' parts, optimiser, curve and predictions."""
    assert actual.done
    states = [
        flat([run.model.state_dict(), run.losses.state_dict(), run.optimizer.state_dict(), run.best_epoch])
        for run in (actual, expected)
    ]
    assert states[0].keys() == states[1].keys()
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    assert actual.curve == expected.curve
    assert np.array_equal(actual.hits(), expected.hits())


class EveryStep(Checkpoints):
    """Saves at every opportunity; `files` holds each checkpoint by its epoch and step."""

    def __init__(self, folder):
        super().__init__(folder, interval=0)
        self.files: dict[tuple[int, int], bytes] = {}

    def save(self, state):
        super().save(state)
        self.files[state["epoch"], state["step"]] = self.folder.checkpoint.read_bytes()


class Passing:
    """Time that passes only where the test says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for module in (clock, member):
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


def remembered(states: Iterable[Mapping[str, Any]]) -> int:
    """Values of an optimiser's states that are not 0: a momentum of 0 is none."""
    return sum(bool(torch.as_tensor(value).any()) for state in states for value in state.values())
