"""Likeness of a distilled student's embeddings and its teachers', before and after its training.

It is measured when the training has ended, on networks that are built anew and on test images without their labels. So
it changes no number of the training, enters no key, and is no part of the training's cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from benchbench.data.images import ImageSubset
from benchbench.data.loader import Loader, make_loader
from benchbench.data.transforms import Transform
from benchbench.errors import is_out_of_memory, one_line
from benchbench.hardware.memory import free_memory
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.seeds import derive
from benchbench.specs.records import SimilarityRecord, TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import load_split
from benchbench.stages.networks import load_frozen, load_weights
from benchbench.statistics.similarity import linear_cka
from benchbench.training.stop import STOP

TrainingContext = StageContext[TrainingSpec]
Result = TypeVar("Result", bound=StageResult | Exception)

# The first test images, as many as there are up to here; and those of a forward pass.
IMAGES, BATCH = 512, 64
# The last digits of sums depend on the threads that NumPy's library finds.
DIGITS = 9


def with_similarity(
    contexts: Sequence[StageContext], results: Sequence[StageResult | Exception]
) -> list[StageResult | Exception]:
    """Results of stages that ran side by side, those of distilled students with the likeness to their teachers.

    A result is left as it is where that cannot be measured, or where the process is asked to end.
    """
    measured = list(results)
    teachers: _Teachers | None = None
    for index, (context, result) in enumerate(zip(contexts, results, strict=True)):
        if isinstance(result, Exception) or not _is_distilled(context) or STOP.made:
            continue
        try:
            with _own_random_numbers(context), _threads_of(context, result):
                teachers = teachers or _Teachers(context)  # those that run side by side have the same ones
                measured[index] = _completed(result, teachers, context)
        except Exception as error:
            print(f"how alike student and teacher are is not known ({one_line(error)})")
            if is_out_of_memory(error):
                free_memory(torch.device(context.device).type)
    return measured


def _is_distilled(context: StageContext) -> bool:
    """True for a cell with a teacher that has left weights of its own."""
    spec = context.spec
    return isinstance(spec, TrainingSpec) and spec.kind == "cell" and bool(spec.teachers) and _has_weights(context)


def _has_weights(context: StageContext) -> bool:
    return context.folder.weights.exists()


@contextmanager
def _own_random_numbers(context: StageContext) -> Iterator[None]:
    device = torch.device(context.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def _threads_of(context: StageContext, result: StageResult) -> Iterator[None]:
    """The CPU threads of the training, which sums depend on."""
    before = torch.get_num_threads()
    if torch.device(context.device).type == "cpu":
        torch.set_num_threads(result.record.environment.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Teachers:
    """The teachers' embeddings of the test images.

    Attributes:
        classes: number of classes.
        loader: the images.
        embeddings: of each teacher [N, D].
        families: of each teacher.
    """

    def __init__(self, context: TrainingContext):
        images, recipe = load_split(context, "test"), context.spec.recipe
        part = ImageSubset(images, np.arange(min(IMAGES, len(images))))
        transform = Transform(recipe.image_size, recipe.eval_resize, ())
        self.classes = len(images.classes)
        self.loader = make_loader(part, transform, torch.device(context.device), 0)
        networks = (
            load_frozen(context, network, index, self.classes) for index, network in enumerate(context.spec.teachers)
        )
        both = [(embeddings(network, self.loader), family_of(network.trunk)) for network in networks]
        self.embeddings, self.families = zip(*both, strict=True)


def _completed(result: StageResult, teachers: _Teachers, context: TrainingContext) -> StageResult:
    record = result.record
    assert isinstance(record, TrainingRecord)
    student = starting_student(context, teachers.classes)
    start = embeddings(student, teachers.loader)
    end = embeddings(_trained(student, context), teachers.loader)
    similarity = SimilarityRecord(
        images=len(start),
        start=tuple(_cka(start, teacher) for teacher in teachers.embeddings),
        end=tuple(_cka(end, teacher) for teacher in teachers.embeddings),
        family=family_of(student.trunk),
        teacher_families=teachers.families,
    )
    metrics = record.metrics.model_copy(update={"similarity": similarity})
    return replace(result, record=record.model_copy(update={"metrics": metrics}))


def _cka(student: Tensor, teacher: Tensor) -> float | None:
    value = linear_cka(student, teacher)
    return None if value is None else round(value, DIGITS)


def starting_student(context: TrainingContext, classes: int) -> Backbone:
    """The student as its training began with it, but for its heads."""
    spec = context.spec
    torch.manual_seed(derive(spec.seed, "initialisation"))
    model = build_backbone(spec.model, spec.role, context.registry, classes)
    if start := context.needs.get("start"):
        load_weights(model, start, head=False)
    return model.to(torch.device(context.device))


def _trained(model: Backbone, context: TrainingContext) -> Backbone:
    """The same network with the trunk that the training has left."""
    tensors = safetensors.torch.load_file(context.folder.weights)
    prefix = "trunk."
    trunk = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    model.trunk.load_state_dict(trunk)
    return model


@torch.no_grad()
def embeddings(model: Backbone, loader: Loader) -> Tensor:
    """A network's embeddings of a loader's images in their order [N, D], in eval mode and float32, on the CPU."""
    model.eval()
    return torch.cat([model(batch.images).embedding.float().cpu() for batch in loader.test_batches(BATCH)])


def family_of(network: nn.Module) -> str:
    """The family of an architecture: the module of its library that defines it, as in `timm.models.convnext`."""
    return type(network).__module__.rpartition(".")[2]
