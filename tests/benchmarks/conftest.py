"""The training loop on a few batches of the bundled images, as benchmarks run it; and how a run is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.data.feeds import Pipeline, ResidentFeed
from benchbench.data.sources.bundled import load
from benchbench.losses.teachers import fit_student, make_lessons
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plugins import load_plugins
from benchbench.store import StageFolder
from benchbench.suite import Recipe
from benchbench.training.checkpoint import Checkpoints
from benchbench.training.loop import Training

SIZE, BATCH, STEPS = 32, 64, 5
DEVICE = torch.device("cpu")


@pytest.fixture
def backbone() -> Callable[..., Backbone]:
    """Networks of ten classes by `SOURCE/NAME`, with random weights."""

    def build(model: str, channels_last: bool = False) -> Backbone:
        source, _, name = model.partition("/")
        job = {"source": source, "name": name, "params": {}, "weights": None}
        job |= {"mean": None, "std": None, "input_size": None}
        network = build_backbone(job, "student", load_plugins().registry, 10)
        return network.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    return build


@pytest.fixture
def our_epoch(backbone, tmp_path) -> Callable[..., Callable[[], None]]:
    """A function that trains one epoch of `STEPS` steps, fresh augmentation, fp32."""

    def make(
        teacher_name: str, student_name: str, losses: Sequence[tuple[str, Any]], channels_last: bool = False
    ) -> Callable[[], None]:
        registry = load_plugins().registry
        entries = [
            {"name": name, "params": registry.get("loss", name).params(**params).model_dump(), "weight": 1e-3}
            for name, params in losses
        ]
        pipeline = Pipeline(
            SIZE,
            None,
            [
                lambda x, size, random: flip(x, size, random, probability=0.5),
                lambda x, size, random: random_crop(x, size, random, padding=4, resize=None),
            ],
        )
        feed = ResidentFeed(load(None, Path(), "train"), np.arange(STEPS * BATCH), pipeline, DEVICE)
        student, teacher = backbone(student_name, channels_last), backbone(teacher_name, channels_last).freeze()
        recipe = Recipe(epochs=1, batch_size=BATCH, image_size=SIZE, channels_last=channels_last).model_dump()
        needs = {need for name, _ in losses for need in registry.get("loss", name).needs}
        teachers = [teacher] if needs & {"teacher", "teacher.logits"} else []
        fit_student(student, entries, registry, [teacher.dim for teacher in teachers])
        lessons = make_lessons(entries, registry, student, teachers, [1.0], recipe, feed.labels, DEVICE)
        # The steady state is measured: a two-stage method's first stage comes on top of it.
        lessons.preparation = 0.0

        def run() -> None:
            Training(
                model=student,
                teachers=teachers,
                losses=lessons,
                train=feed,
                validation=None,
                recipe=recipe,
                seed=0,
                best=False,
                device=DEVICE,
                checkpoints=Checkpoints(StageFolder(tmp_path), interval=1e9),
                report=lambda progress: None,
            ).run(None)

        return run

    return make


@pytest.fixture
def seconds() -> Callable[[Callable[[], None]], float]:
    """CPU seconds of a run."""

    def measure(run: Callable[[], None]) -> float:
        started = time.process_time()
        run()
        return time.process_time() - started

    return measure
