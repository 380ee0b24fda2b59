"""Small training runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.augmenters.mixing import mixup
from benchbench.components import Component, Offer
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.transforms import Transform, bind_augmenters, bind_mixers
from benchbench.losses.base import LossContext
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ComponentSpec, LossSpec
from benchbench.store import StageFolder
from tests.specs import loss_spec
from tests.training.small import (
    CLASSES,
    CPU,
    SIDE,
    Run,
    coloured,
    make_run,
    small_recipe,
)

TRAIN, HELD_OUT = np.arange(22), np.arange(22, 40)  # 5 steps an epoch; the last 2 images are dropped


STEPS = 5


CROP = ComponentSpec(name="random_crop", params={"padding": 1, "resize": None})


FUNCTIONS = {"flip": flip, "random_crop": random_crop, "mixup": mixup}


def ruined(student, teacher, batch):
    """A loss with one term that is not finite."""
    return {"fine": student.logits.square().mean(), "boom": student.logits.mean() * float("nan")}


@pytest.fixture(scope="module")
def registry():
    registry = load_plugins().registry
    registry.add(Offer("loss", Component("ruined", f"{__name__}:ruined"), "here"))
    return registry


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return coloured(40)


def network(seed: int, width: int = 6, dropout: float = 0.0, classes: int | None = CLASSES) -> Backbone:
    seed_everything(seed, CPU)
    layers = [nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout))
    return Backbone(Trunk(module, width, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), classes)


def teacher_network() -> Backbone:
    """Frozen, with batch statistics that are not the usual zeros and ones."""
    teacher = network(77, width=9, dropout=0.5)
    for _ in range(3):
        teacher(torch.rand(4, 3, SIDE, SIDE))
    return teacher.freeze()


@pytest.fixture
def make(registry, images, tmp_path):
    """Runs of a small network; parts of two runs have nothing in common but the data and the teacher."""

    def run(
        losses=("ce",), start=0, seed=1, dropout=0.0, best=False, linear_probe=False, mix=(), checkpoints=None, **recipe
    ) -> Run:
        specs = [loss if isinstance(loss, LossSpec) else loss_spec(loss) for loss in losses]
        augment = ComponentSpec(name="flip", params={"probability": 0.5}), CROP
        mixers = tuple(ComponentSpec(name=name, params={"alpha": 1.0, "probability": 0.8}) for name in mix)
        full, load = small_recipe(augment=augment, mix=mixers, **recipe), FUNCTIONS.__getitem__
        transform = Transform(SIDE, None, bind_augmenters(full.augment, load), bind_mixers(full.mix, load))
        model = network(start, dropout=dropout)
        if linear_probe:
            model.freeze(head=False)
        needs = set().union(*(registry.get("loss", loss.name).needs for loss in specs))
        teacher = teacher_network() if needs & {"teacher", "teacher.logits"} else None
        context = LossContext(
            classes=CLASSES,
            student_dim=model.dim,
            student_head=model.head,
            teacher_dim=teacher.dim if teacher else None,
            teacher_head=teacher.head if teacher else None,
            labels=torch.from_numpy(images.labels[TRAIN]),
            epochs=full.epochs,
            device=CPU,
        )
        loaders = tuple(InMemoryLoader(ImageSubset(images, indices), transform, CPU) for indices in (TRAIN, HELD_OUT))
        loaders[0].second_view = "second_view" in needs
        seed_everything(start + 1000, CPU)
        return make_run(
            model,
            MultiTeacherLoss(specs, registry, [context], [1.0] if teacher else []),
            full,
            loaders,
            StageFolder(tmp_path),
            teachers=[teacher] if teacher else [],
            seed=seed,
            best=best,
            checkpoints=checkpoints,
        )

    return run
