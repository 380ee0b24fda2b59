"""Epochs that benchmarks time: the training loop on a few batches of the bundled images, and a plain loop beside it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.components import Registry
from benchbench.data.images import ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.loader import Loader
from benchbench.data.sources.bundled import load
from benchbench.data.transforms import Transform
from benchbench.execution.agreement import Sample
from benchbench.execution.network import ConfiguredModel, ExecutionConfig, frozen_network
from benchbench.execution.tune import TuningConstraints, tune
from benchbench.losses.multi_teacher import LossSetup, add_student_heads, build_losses
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import LossSpec, ModelSpec, RecipeSpec
from benchbench.store import StageFolder
from benchbench.training.cached_outputs import CachedTeacher
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort, SharedInputs
from benchbench.training.loop import train
from benchbench.training.member import Member
from benchbench.training.teachers import LiveTeacher, TeacherForward
from tests.specs import recipe_spec

SIZE, BATCH, STEPS, VIEWS = 32, 64, 3, 4
CPU, PLAIN = torch.device("cpu"), ExecutionConfig()
# Names and parameters.
Losses = Sequence[tuple[str, dict[str, Any]]]
KD: Losses = [("ce", {}), ("kd", {"temperature": 4.0})]
AUGMENTERS = [
    lambda images, size, random: flip(images, size, random, probability=0.5),
    lambda images, size, random: random_crop(images, size, random, padding=4, resize=None),
]


@functools.cache
def registry() -> Registry:
    return load_plugins().registry


def build(model: str) -> Backbone:
    """A network of ten classes by `SOURCE/NAME`, with random weights."""
    source, _, name = model.partition("/")
    return build_backbone(ModelSpec(source=source, name=name), "student", registry(), 10)


@functools.cache
def tuned(model: str, trained: bool) -> ExecutionConfig:
    """The fastest execution in float32, as a tuning stage chooses it."""
    network, images = build(model), torch.rand(BATCH, 3, SIZE, SIZE)
    constraints = TuningConstraints(trained, "fp32", None, None, False, 0, 1)
    return tune(network if trained else network.freeze(), images, constraints)[0]


def plain(model: str, trained: bool) -> ExecutionConfig:
    """The execution of a plain loop."""
    return PLAIN


def loss_specs(losses: Losses) -> list[LossSpec]:
    """Losses of a small weight, with all their parameters."""
    params = {name: registry().get("loss", name).params(**given).model_dump(mode="json") for name, given in losses}
    return [LossSpec(name=name, params=values, weight=1e-3) for name, values in params.items()]


def make_member(
    model: Backbone,
    teachers: Sequence[Backbone],
    losses: Sequence[LossSpec],
    inputs: SharedInputs,
    recipe: RecipeSpec,
    *,
    folder: Path,
    execution: ExecutionConfig = PLAIN,
    seed: int = 0,
) -> Member:
    """A training run without checkpoints."""
    setup = LossSetup(inputs.train.labels, recipe.image_size, recipe.epochs, inputs.device, (1.0,) * len(teachers))
    built = build_losses(losses, registry(), model, teachers, setup)
    # The steady state is measured: a two-stage method's first stage comes on top of it.
    built.preparation = 0.0
    return Member(
        model=model,
        losses=built,
        recipe=recipe,
        steps=inputs.steps,
        seed=seed,
        best=False,
        device=inputs.device,
        execution=execution,
        checkpoints=Checkpoints(StageFolder(folder), 1e9),
        report=lambda progress: None,
    )


def run_epochs(members: Sequence[Member], inputs: SharedInputs) -> None:
    """Trains from the start to the end of the recipe."""
    cohort = Cohort(members, inputs, Clock(inputs.device))
    train(cohort)
    assert not cohort.failures, cohort.failures


class Epoch:
    """One epoch of `STEPS` steps, of several students side by side where `count` is more than one.

    Args:
        folder: for checkpoints, of which none is written.
        teacher_name, student_name: `SOURCE/NAME`.
        losses: names and parameters.
        execution_of: execution of a network, by its name and whether it trains: `tuned` or `plain`.
        cached: whether the teacher's outputs are cached, over `VIEWS` views.
        count: students.
    """

    def __init__(
        self,
        folder: Path,
        teacher_name: str,
        student_name: str,
        losses: Losses = KD,
        *,
        execution_of: Callable[[str, bool], ExecutionConfig] = plain,
        cached: bool = False,
        count: int = 1,
    ):
        specs, needs = loss_specs(losses), {need for name, _ in losses for need in registry().get("loss", name).needs}
        loader = _loader(VIEWS if cached else None)
        loader.second_view = "second_view" in needs
        networks: list[ConfiguredModel] = []
        if needs & {"teacher", "teacher.logits"}:
            sample, config = next(loader.test_batches(16)).images, execution_of(teacher_name, False)
            teacher = build(teacher_name).freeze()
            networks.append(frozen_network(teacher, config, Sample(sample), 0.0, features="features" in needs)[0])
        forwards: list[TeacherForward] = [LiveTeacher(network) for network in networks]
        if cached:
            forwards = [_cached_teacher(networks[0], loader)]
        self.teachers = [network.model for network in networks]
        self.inputs = SharedInputs(loader, None, forwards, BATCH, 0, CPU)
        recipe, execution = recipe_spec(batch_size=BATCH, image_size=SIZE), execution_of(student_name, True)
        self.members = []
        for seed in range(count):
            student = build(student_name)
            add_student_heads(student, specs, registry(), [teacher.dim for teacher in self.teachers])
            self.members.append(
                make_member(
                    student,
                    self.teachers,
                    specs,
                    self.inputs,
                    recipe,
                    folder=folder,
                    execution=execution,
                    seed=seed,
                )
            )

    def __call__(self) -> None:
        run_epochs(self.members, self.inputs)


def _loader(views: int | None) -> InMemoryLoader:
    images = ImageSubset(load(None, Path(), "train"), np.arange(STEPS * BATCH))
    return InMemoryLoader(images, Transform(SIZE, None, AUGMENTERS, views=views), CPU)


def _cached_teacher(network: ConfiguredModel, loader: Loader) -> CachedTeacher:
    """The outputs for every view of the images, in memory."""
    batches = [[network(batch.images) for batch in views] for views in loader.view_batches(BATCH, 0)]

    def joined(name: str) -> Tensor:
        views = [torch.cat([getattr(outputs[view], name) for outputs in batches]) for view in range(VIEWS)]
        return torch.stack(views).detach()

    return CachedTeacher(joined("logits"), joined("embedding"))


def naive(student_name: str, teacher_name: str | None = None) -> Callable[[], None]:
    """`STEPS` steps of a plain loop on one fixed batch in memory, with or without a teacher."""
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(10, (BATCH,))
    student, teacher = build(student_name).train(), build(teacher_name).freeze() if teacher_name else None
    optimizer = torch.optim.AdamW(student.parameters())

    def run() -> None:
        for _ in range(STEPS):
            logits = student(images).logits
            loss = F.cross_entropy(logits, labels)
            if teacher is not None:
                with torch.no_grad():
                    teacher_logits = teacher(images).logits
                loss = loss + kd_term(logits, teacher_logits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def kd_term(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KD at temperature 4, written out."""
    log_student, log_teacher = (logits / 4).log_softmax(1), (teacher_logits / 4).log_softmax(1)
    return 16 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
