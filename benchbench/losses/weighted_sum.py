"""The weighted sum of a suite's losses, and once for all of them what each one needs.

Every loss runs in float32, outside of autocast, and gets the outputs of a teacher as constants. A loss whose component
needs an output that is missing is refused here. Losses with `DenseParams` get positions of the last maps as embeddings
where these say so, and know nothing of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.components import Component, Registry
from benchbench.data.batch import Batch
from benchbench.errors import PluginError, StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import DenseParams
from benchbench.losses.positions import dense_context, dense_outputs
from benchbench.models.outputs import Outputs
from benchbench.specs.parts import LossSpec

# The weighted sum, and every term by name, unweighted.
LossValue = tuple[Tensor, dict[str, Tensor]]
RESERVED = frozenset({"epoch", "loss", "train_accuracy", "validation_accuracy"})
TEACHER_NEEDS = frozenset({"teacher", "teacher.logits"})
TOKEN_EXAMPLE = "timm/deit_tiny_distilled_patch16_224"


class LossSum(nn.Module):
    """Several losses as one; owns their projectors and memory banks.

    Attributes:
        needs_features: True if any of them reads the maps between stages.
    """

    def __init__(self, losses: Sequence[LossSpec], registry: Registry, context: LossContext):
        """Raises StageError where a loss needs something that the networks do not have, or refuses them."""
        super().__init__()
        self.parts = nn.ModuleDict()
        self.losses: list[_Summand] = []
        for spec in losses:
            if spec.name in RESERVED:
                raise PluginError(f"a loss cannot be called '{spec.name}': that is a column of the training curve")
            component = registry.get("loss", spec.name)
            needs = component.needs_of(spec.params)
            _check_networks(spec.name, needs, context)
            target = component.load()
            own, positions = _without_positions(spec, component)
            loss: Callable[..., Any] = partial(target, **own.arguments)
            if inspect.isclass(target):
                loss = self.parts[spec.name] = loss(dense_context(context) if positions else context)
            self.losses.append(_Summand(spec, needs, loss, positions))
        self.needs_features = any("features" in each.needs for each in self.losses)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> LossValue:
        """The weighted sum, and every term by "loss" or "loss.term", unweighted."""
        outputs = _float32(student), _constants(teacher), batch
        real = outputs
        if batch.synthetic is not None and any(each.spec.images == "real" for each in self.losses):
            rows = (~batch.synthetic).nonzero().squeeze(1)
            real = outputs[0].part(rows), outputs[1].part(rows) if outputs[1] else None, batch.part(rows)
        values = []
        with torch.autocast(batch.labels.device.type, enabled=False):
            for each in self.losses:
                inputs = real if each.spec.images == "real" else outputs
                if len(inputs[2].labels):  # a loss on real images leaves out a batch without any
                    values.append((each.spec.name, each.spec.weight, each.value(*inputs)))
        return _weighted(values, batch)

    def preparing(self) -> list[Loss]:
        """The losses that have a first stage."""
        return [loss for loss in self.parts.values() if isinstance(loss, Loss) and loss.prepares != "nothing"]

    def prepare(self, student: Outputs | None, teacher: Outputs | None, batch: Batch) -> LossValue:
        """The same of the first stage: unweighted, since a weight balances a loss against others in the training.

        The losses that have no such stage stay out of it.
        """
        student, teacher = _float32(student) if student else None, _constants(teacher)
        values = []
        with torch.autocast(batch.labels.device.type, enabled=False):
            for each in self.losses:
                if isinstance(each.loss, Loss) and each.loss.prepares != "nothing":
                    trained = student if each.loss.prepares == "student" else None
                    each.check(trained, teacher, batch)
                    prepare: Callable[..., Any] = each.loss.prepare
                    values.append((each.spec.name, 1.0, prepare(trained, teacher, batch)))
        return _weighted(values, batch)


@dataclass(frozen=True)
class _Summand:
    """A loss as it is called, with its spec and the needs of its component.

    Attributes:
        positions: of each image, whose vectors it gets as embeddings; None for the embeddings of images.
    """

    spec: LossSpec
    needs: frozenset[str]
    loss: Callable[..., Any]
    positions: int | None

    def value(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> Any:
        """The loss itself. Raises StageError where something is missing that it needs."""
        self.check(student, teacher, batch)
        if self.positions is not None and teacher is not None:
            student, teacher = dense_outputs(student, teacher, self.positions)
        return self.loss(student, teacher, batch)

    def check(self, student: Outputs | None, teacher: Outputs | None, batch: Batch) -> None:
        """Raises StageError where something is missing that the loss needs; a student that is not run lacks nothing."""
        name = self.spec.name
        if self.needs & TEACHER_NEEDS and teacher is None:
            raise StageError(f"loss '{name}' needs a teacher")
        if "teacher.logits" in self.needs and teacher is not None and teacher.logits is None:
            raise StageError(f"loss '{name}' needs the teacher's task logits; adapt the teacher to the task")
        if "token" in self.needs and student is not None and student.token_logits is None:
            raise StageError(f"loss '{name}' needs a student with a distillation token, such as {TOKEN_EXAMPLE}")
        if "second_view" in self.needs and any(each and each.second_view is None for each in (student, teacher)):
            raise StageError(f"loss '{name}' needs a second view of each image, and this batch has one")
        if "pixels" in self.needs and batch.masks is None:
            raise StageError(f"loss '{name}' reads the classes of pixels, and these images have none")
        if "boxes" in self.needs and batch.boxes is None:
            raise StageError(f"loss '{name}' reads the boxes of objects, and these images have none")
        if self.needs >= {"teacher.logits", "boxes"} and student is not None and teacher is not None:
            _check_points(name, student, teacher)


def _without_positions(spec: LossSpec, component: Component) -> tuple[LossSpec, int | None]:
    """The spec as the loss itself is built from it, and the positions of each image that it gets; None for images."""
    if not issubclass(component.params, DenseParams):
        return spec, None
    own = {name: value for name, value in spec.params.items() if name not in DenseParams.model_fields}
    read = DenseParams.model_validate({name: value for name, value in spec.params.items() if name not in own})
    return spec.model_copy(update={"params": own}), read.positions if read.dense else None


def _check_networks(name: str, needs: frozenset[str], context: LossContext) -> None:
    if needs & TEACHER_NEEDS and context.teacher_dim is None:
        raise StageError(f"loss '{name}' needs a teacher")
    if "features" in needs:
        shapes = {"student": context.student_features}
        if context.teacher_dim is not None:
            shapes["teacher"] = context.teacher_features
        for side in (side for side, maps in shapes.items() if not maps):
            raise StageError(f"loss '{name}' reads feature maps, and this {side} has none; take another {side}")


def _check_points(name: str, student: Outputs, teacher: Outputs) -> None:
    counts = [list(side.boxes.levels) if side.boxes else "no" for side in (student, teacher)]
    if counts[0] != counts[1]:
        raise StageError(
            f"loss '{name}' compares both sides point by point, and levels of the student have {counts[0]} points, "
            f"those of the teacher {counts[1]}; take networks and heads whose levels have the same strides"
        )


def _float32(outputs: Outputs) -> Outputs:
    return outputs.each(Tensor.float)


def _constants(teacher: Outputs | None) -> Outputs | None:
    return teacher.each(lambda value: value.detach().float()) if teacher is not None else None


def _weighted(values: Sequence[tuple[str, float, Any]], batch: Batch) -> LossValue:
    terms: dict[str, Tensor] = {}
    total = torch.zeros((), device=batch.labels.device)
    for name, weight, value in values:
        scalars = value if isinstance(value, dict) else {name: value}
        if not scalars or not all(isinstance(scalar, Tensor) and scalar.ndim == 0 for scalar in scalars.values()):
            raise StageError(f"loss '{name}' gave {_shape(value)}; it must give a scalar tensor, or a dict of them")
        for term, scalar in scalars.items():
            terms[name if term == name else f"{name}.{term}"] = scalar
            total = total + weight * scalar
    return total, terms


def _shape(value: Any) -> str:
    """A few words on a loss's value: "a tensor of shape [7]"."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_shape(item)}' for name, item in value.items())}}}"
    return f"a {type(value).__name__}"
