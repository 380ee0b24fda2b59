"""Small runs that train side by side, and the same ones alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.transforms import Transform, bind_augmenters
from benchbench.losses.multi_teacher import LossSetup, build_losses
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ComponentSpec, LossSpec
from benchbench.store import StageFolder
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort
from benchbench.training.global_state import StateWatch
from benchbench.training.loop import train
from benchbench.training.term_gradients import has_losses_to_compare
from tests.specs import loss_spec
from tests.training.small import (
    CLASSES,
    CPU,
    CRD,
    SIDE,
    SIMCLR,
    Run,
    coloured,
    make_run,
    small_recipe,
)

STEPS = 5


TRAIN, HELD_OUT = np.arange(22), np.arange(22, 40)  # 5 steps an epoch; the last 2 images are dropped


DATA_SEED = 11


FLIP = ComponentSpec(name="flip", params={"probability": 0.5})


CROP = ComponentSpec(name="random_crop", params={"padding": 1, "resize": None})


FUNCTIONS = {"flip": flip, "random_crop": random_crop}


class BoomError(Exception):
    pass


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return coloured(40)


def network(seed: int, width: int, dropout: float = 0.0) -> Backbone:
    """Two stages, whose maps are to be had."""
    seed_everything(seed, CPU)
    first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2), nn.BatchNorm2d(2 * width), nn.ReLU())
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))

    def with_features(images):
        maps = [first(images)]
        maps.append(second(maps[0]))
        return end(maps[1]), maps

    trunk = Trunk(
        nn.Sequential(first, second, end), 2 * width, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), with_features=with_features
    )
    return Backbone(trunk, CLASSES)


def teacher_network() -> Backbone:
    """Frozen, with batch statistics that are not the usual zeros and ones."""
    teacher = network(77, 5, dropout=0.5)
    for _ in range(3):
        teacher(torch.rand(4, 3, SIDE, SIDE))
    return teacher.freeze()


def two_stage(name: str, preparation: float) -> dict[str, Any]:
    return {"name": name, "params": {"preparation": preparation}, "weight": 1.0}


# Losses, students, seeds, optimisers and stages of all kinds; whatever all of a cohort have in common is not here.
MEMBERS: dict[str, dict[str, Any]] = {
    "plain": {"losses": ["ce"]},
    "dropout": {"losses": ["ce", "kd"], "dropout": 0.5},
    "another seed": {"losses": ["ce", "kd"], "dropout": 0.5, "seed": 2},
    "memory bank": {"losses": ["ce", CRD], "optimizer": "sgd", "schedule": "step", "milestones": [1]},
    "projector, wider, best": {"losses": ["ce", SIMCLR], "width": 4, "best": True, "warmup_epochs": 1},
    "maps": {"losses": ["ce", "at"], "lr": 0.1},
    "two stages": {"losses": ["ce", loss_spec("fitnets", preparation=0.5)], "optimizer": "sgd"},
    "a longer first stage": {"losses": ["ce", loss_spec("ab", preparation=0.7)]},
    "parts prepared": {"losses": ["ce", loss_spec("ft", preparation=0.1)], "dropout": 0.2},
}


def maker(registry, images: ImageDataset, folder: Path) -> Callable[..., Run]:
    """Makes members, each with a folder of its own; two have the same data and teachers, as equal objects."""
    count = 0

    def run(losses=("ce",), width=3, seed=1, dropout=0.0, best=False, start=0, checkpoints=None, **recipe) -> Run:
        nonlocal count
        count += 1
        specs = [complete(registry, loss if isinstance(loss, LossSpec) else loss_spec(loss)) for loss in losses]
        full = small_recipe(augment=(FLIP, CROP), **recipe)
        transform = Transform(SIDE, None, bind_augmenters(full.augment, FUNCTIONS.__getitem__))
        model, teacher = network(start, width, dropout), teacher_network()
        seed_everything(start + 1000, CPU)
        setup = LossSetup(torch.from_numpy(images.labels[TRAIN]), SIDE, full.epochs, CPU, (1.0,))
        return make_run(
            model,
            build_losses(specs, registry, model, [teacher], setup),
            full,
            tuple(InMemoryLoader(ImageSubset(images, indices), transform, CPU) for indices in (TRAIN, HELD_OUT)),
            StageFolder(folder / str(count)),
            teachers=[teacher],
            seed=seed,
            data_seed=DATA_SEED,
            best=best,
            checkpoints=checkpoints,
        )

    return run


@pytest.fixture
def make(registry, images, tmp_path) -> Callable[..., Run]:
    return maker(registry, images, tmp_path)


@pytest.fixture(scope="module")
def alone(registry, images, tmp_path_factory) -> Callable[..., dict[str, Run]]:
    """Members of these names that have been trained by themselves, once for all tests, which only compare with them."""
    make, runs = maker(registry, images, tmp_path_factory.mktemp("alone")), {}

    def trained(names=tuple(MEMBERS)) -> dict[str, Run]:
        for name in names:
            if name not in runs:
                runs[name] = make(**MEMBERS[name])
                runs[name].run()
        return {name: runs[name] for name in names}

    return trained


def complete(registry, loss: LossSpec) -> LossSpec:
    """The loss with its component's defaults."""
    params = registry.get("loss", loss.name).params(**loss.params)
    return loss.model_copy(update={"params": params.model_dump(mode="json")})


def cohort_of(members: Sequence[Run]) -> Cohort:
    """All of them on the first one's inputs."""
    return Cohort(members, members[0].inputs, Clock(CPU))


def together(members: dict[str, Run], state: StateWatch | None = None) -> dict[str, Exception]:
    """Trains members side by side; the errors of those that failed."""
    cohort = replace(cohort_of(list(members.values())), state=state)
    train(cohort)
    names = {member: name for name, member in members.items()}
    return {names[member]: error for member, error in cohort.failures.items()}


def breaking(member: Run, when: int, result: float | Exception) -> None:
    """From that step on, its losses are multiplied by a factor, or raise.

    With losses beside cross-entropy there is one call before the first step, which measures their gradients.
    """
    real, calls = member.losses.forward, -1 if has_losses_to_compare(member.model, member.losses) else 0

    def forward(*args):
        nonlocal calls
        calls += 1
        total, terms = real(*args)
        if calls < when:
            return total, terms
        if isinstance(result, Exception):
            raise result
        return total * result, terms

    member.losses.forward = forward
