"""Losses of one student and any number of teachers, and the heads that they give the student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchbench.components import Registry
from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.weighted_sum import TEACHER_NEEDS, LossSum, LossValue
from benchbench.models.backbone import Backbone
from benchbench.models.detection import DetectionHead
from benchbench.models.outputs import Outputs
from benchbench.models.pixels import enlarged
from benchbench.specs.parts import LossSpec


class MultiTeacherLoss(nn.Module):
    """The weighted sum of a suite's losses over any number of teachers.

    With several teachers, a loss that reads their logits alone sees the weighted mean of the logits (the ensemble); any
    other loss, with projectors and banks of its own, is built once per teacher, and the teachers' weights multiply its
    terms. Of a detection, whose logits are at points that teachers need not share, every loss that reads them is.

    Attributes:
        needs_features: True if any loss reads the maps between stages.
        preparation: length of the first stage of two-stage methods, as a share of the epochs; the longest one's.
        preparation_rate: that stage's learning rate as a share of the recipe's; the smallest one's.
        prepares_student: True if that stage trains the student.
    """

    def __init__(
        self,
        losses: Sequence[LossSpec],
        registry: Registry,
        contexts: Sequence[LossContext],
        weights: Sequence[float],
    ):
        """`contexts`: one per teacher, or a single one without; `weights`: the teachers', of any positive sum."""
        super().__init__()
        several = len(contexts) > 1
        self.of_boxes = isinstance(contexts[0].student_head, DetectionHead)
        separate = [loss for loss in losses if several and _reads_more_than_logits(loss, registry, self.of_boxes)]
        self.ensemble = LossSum([loss for loss in losses if loss not in separate], registry, contexts[0])
        self.per_teacher = nn.ModuleList(LossSum(separate, registry, context) for context in contexts if separate)
        self.weights = [weight / sum(weights) for weight in weights]
        sums = [self.ensemble, *self._sums()]
        preparing = [loss for part in sums for loss in part.preparing()]
        self.needs_features = any(part.needs_features for part in sums)
        self.preparation = max((loss.preparation for loss in preparing), default=0.0)
        self.preparation_rate = min((loss.preparation_rate for loss in preparing), default=1.0)
        self.prepares_student = any(loss.prepares == "student" for loss in preparing)

    def forward(self, student: Outputs, teachers: Sequence[Outputs], batch: Batch) -> LossValue:
        """The weighted sum, and every term, unweighted: "loss", "loss.term", "loss.term 2" of the second teacher."""
        ensemble = self.ensemble(student, self._mean(teachers), batch)
        return self._added(ensemble, [part(student, teacher, batch) for part, teacher in self._pairs(teachers)])

    def prepare(self, student: Outputs | None, teachers: Sequence[Outputs], batch: Batch) -> LossValue:
        """The same of the first stage."""
        ensemble = self.ensemble.prepare(student, self._mean(teachers), batch)
        return self._added(ensemble, [part.prepare(student, teacher, batch) for part, teacher in self._pairs(teachers)])

    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        return {each.spec.name: each.spec.weight for part in (self.ensemble, *self._sums()) for each in part.losses}

    def factors(self, terms: Iterable[str]) -> dict[str, float]:
        """The factor of each term in the sum, by its name: the weight of its loss, times the share of its teacher."""
        weights, separate = self.loss_weights(), {each.spec.name for part in self._sums() for each in part.losses}
        factors = {}
        for term in terms:
            name, number = loss_of(term), term.partition(" ")[2]
            factors[term] = weights[name] * (self.weights[int(number) - 1] if name in separate else 1.0)
        return factors

    def sides(self, terms: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The weighted sums of the terms without a teacher's part, and of those with one; 0 where there are none.

        Args:
            terms: of a batch, as `forward` gives them.
        """
        needs = {each.spec.name: each.needs for part in (self.ensemble, *self._sums()) for each in part.losses}
        factors = self.factors(terms)
        values: tuple[list[Tensor], list[Tensor]] = [], []
        for term, value in terms.items():
            values[bool(needs[loss_of(term)] & TEACHER_NEEDS)].append(factors[term] * value)
        zero = torch.zeros((), device=next(iter(terms.values())).device if terms else None)
        task, distillation = (torch.stack(each).sum() if each else zero for each in values)
        return task, distillation

    def trained_first(self) -> frozenset[str]:
        """Names of the losses that train the student in a first stage, and not after it."""
        parts = [part for whole in (self.ensemble, *self._sums()) for part in whole.parts.items()]
        return frozenset(name for name, loss in parts if isinstance(loss, Loss) and loss.prepares == "student")

    def _sums(self) -> list[LossSum]:
        return [part for part in self.per_teacher if isinstance(part, LossSum)]

    def _pairs(self, teachers: Sequence[Outputs]) -> list[tuple[LossSum, Outputs]]:
        return list(zip(self._sums(), teachers, strict=False))

    def _added(self, ensemble: LossValue, separate: Sequence[LossValue]) -> LossValue:
        total, terms = ensemble
        for index, (value, own_terms) in enumerate(separate):
            total = total + self.weights[index] * value
            terms |= {f"{term} {index + 1}": scalar for term, scalar in own_terms.items()}
        return total, terms

    def _mean(self, teachers: Sequence[Outputs]) -> Outputs | None:
        if len(teachers) < 2:
            return teachers[0] if teachers else None
        second_views = [teacher.second_view for teacher in teachers if teacher.second_view is not None]
        second_view = self._mean(second_views) if second_views else None
        # Points of detections differ from teacher to teacher, and no loss here reads their logits.
        logits = [None if self.of_boxes else teacher.logits for teacher in teachers]
        if any(each is None for each in logits):
            return Outputs(None, teachers[0].embedding)
        # A sum of products, since autocast takes a product of matrices (einsum too) in half precision.
        known = [each.float() for each in logits if each is not None]
        # Those of segmentations may differ in size.
        shares = [weight * enlarged(each, known[0]) for weight, each in zip(self.weights, known, strict=True)]
        return Outputs(torch.stack(shares).sum(0), teachers[0].embedding, second_view=second_view)


def loss_of(term: str) -> str:
    """The name of a term's loss: of "loss", "loss.term" or "loss.term 2"."""
    return term.partition(" ")[0].partition(".")[0]


def _reads_more_than_logits(loss: LossSpec, registry: Registry, of_boxes: bool) -> bool:
    needs = registry.get("loss", loss.name).needs_of(loss.params)
    return "teacher" in needs or {"features", "teacher.logits"} <= needs or (of_boxes and "teacher.logits" in needs)


def add_student_heads(
    model: Backbone, losses: Sequence[LossSpec], registry: Registry, teacher_dims: Sequence[int]
) -> None:
    """Gives a student the heads that its losses need: a distillation token's, or one that replaces its own.

    Raises:
        StageError: a loss reads the distillation token of a student that has none; two losses replace the head, or one
            does with several teachers.
    """
    for loss in losses:
        if "token" in registry.get("loss", loss.name).needs:
            if not model.has_token:
                example = "timm/deit_tiny_distilled_patch16_224"
                raise StageError(f"loss '{loss.name}' needs a student with a distillation token, such as {example}")
            model.add_token_head()
    targets = [(loss, registry.get("loss", loss.name).load()) for loss in losses]
    replacing = [(loss, target) for loss, target in targets if _replaces_head(target)]
    if not replacing:
        return
    if len(replacing) > 1:
        names = " and ".join(f"'{loss.name}'" for loss, _ in replacing)
        raise StageError(f"losses {names} both replace the student's classifier; take one of them")
    ((loss, target),) = replacing
    if model.classes is None:
        raise StageError(f"loss '{loss.name}' replaces the student's classifier, and images without labels need none")
    if len(teacher_dims) != 1:
        raise StageError(f"loss '{loss.name}' makes the student's classifier for one teacher; give one teacher")
    model.head = target.make_head(model.dim, teacher_dims[0], model.classes, **loss.arguments)


def _replaces_head(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, Loss) and target.make_head is not None


@dataclass(frozen=True)
class LossSetup:
    """The part of a training run, beside its networks, that its losses are built for.

    Attributes:
        labels: class of every training sample [samples], int64.
        image_size: height and width of the images in pixels.
        epochs: length of the run.
        device: the one that the networks are on.
        teacher_weights: one per teacher, of any positive sum.
        class_weights: as in `LossContext`.
    """

    labels: Tensor
    image_size: int
    epochs: int
    device: torch.device
    teacher_weights: tuple[float, ...] = ()
    class_weights: Tensor | None = None


def build_losses(
    losses: Sequence[LossSpec], registry: Registry, student: Backbone, teachers: Sequence[Backbone], setup: LossSetup
) -> MultiTeacherLoss:
    """The losses of one training run, built for its networks.

    Args:
        losses: looked up in `registry`.
        registry: of components.
        student: with the heads that `add_student_heads` gives it.
        teachers: frozen; none without distillation.
        setup: of the run.

    Raises:
        StageError: a method cannot work on these networks.
    """
    features = any("features" in registry.get("loss", loss.name).needs_of(loss.params) for loss in losses)
    networks: list[Backbone | None] = [*teachers] or [None]
    contexts = [
        LossContext(
            classes=student.classes or 0,
            student_dim=student.dim,
            student_head=student.head or nn.Identity(),  # none on images without labels
            teacher_dim=teacher.dim if teacher else None,
            teacher_head=teacher.head if teacher and isinstance(teacher.head, nn.Linear) else None,
            student_features=student.map_shapes(setup.image_size) if features else [],
            teacher_features=teacher.map_shapes(setup.image_size) if features and teacher else [],
            labels=setup.labels,
            epochs=setup.epochs,
            device=setup.device,
            class_weights=setup.class_weights,
            student_rest=student.rest if student.has_rest else None,
            teacher_rest=teacher.rest if teacher and teacher.has_rest else None,
            student_pools=not features or student.pools_last_map(setup.image_size),
            teacher_pools=not features or teacher is None or teacher.pools_last_map(setup.image_size),
        )
        for teacher in networks
    ]
    return MultiTeacherLoss(losses, registry, contexts, setup.teacher_weights).to(setup.device)
