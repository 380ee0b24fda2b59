"""One student and its teachers: which loss sees which teacher, and the student's head where a method replaces it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.components import Registry
from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext, Shape
from benchbench.losses.weighted_sum import LossSum
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs

Entry = Mapping[str, Any]


class MultiTeacherLoss(nn.Module):
    """The weighted sum of a suite's losses over any number of teachers.

    With several teachers, a loss that reads their logits alone sees the weighted mean of the logits (the ensemble); any
    other loss, with projectors and banks of its own, is built once a teacher, and the teachers' weights multiply its
    terms.

    Attributes:
        needs_features: whether any loss reads the maps between stages.
        preparation: length of the first stage of two-stage methods, as a share of the epochs; the longest one's.
        preparation_rate: that stage's learning rate as a share of the recipe's; the smallest one's.
        prepares_student: whether that stage trains the student.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        registry: Registry,
        contexts: Sequence[LossContext],
        weights: Sequence[float],
    ):
        """`contexts`: one a teacher, or a single one without; `weights`: the teachers', of any positive sum."""
        super().__init__()
        several = len(contexts) > 1
        apart = [entry for entry in entries if several and _reads_more_than_logits(entry, registry)]
        self.together = LossSum([entry for entry in entries if entry not in apart], registry, contexts[0])
        self.apart = nn.ModuleList(LossSum(apart, registry, context) for context in contexts if apart)
        self.weights = [weight / sum(weights) for weight in weights]
        sums = [self.together, *self._apart()]
        preparing = [loss for part in sums for loss in part.preparing()]
        self.needs_features = any(part.needs_features for part in sums)
        self.preparation = max((loss.preparation for loss in preparing), default=0.0)
        self.preparation_rate = min((loss.preparation_rate for loss in preparing), default=1.0)
        self.prepares_student = any(loss.prepares == "student" for loss in preparing)

    def forward(self, student: Outputs, teachers: Sequence[Outputs], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every term, unweighted: "loss", "loss.term", "loss.term 2" of the second teacher."""
        total, terms = self.together(student, self._mean(teachers), batch)
        for number, (part, weight) in enumerate(zip(self._apart(), self.weights, strict=False)):
            value, named = part(student, teachers[number], batch)
            total = total + weight * value
            terms |= {f"{term} {number + 1}": scalar for term, scalar in named.items()}
        return total, terms

    def prepare(
        self, student: Outputs | None, teachers: Sequence[Outputs], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same of the first stage."""
        total, terms = self.together.prepare(student, self._mean(teachers), batch)
        for number, (part, weight) in enumerate(zip(self._apart(), self.weights, strict=False)):
            value, named = part.prepare(student, teachers[number], batch)
            total = total + weight * value
            terms |= {f"{term} {number + 1}": scalar for term, scalar in named.items()}
        return total, terms

    def _apart(self) -> list[LossSum]:
        return [part for part in self.apart if isinstance(part, LossSum)]

    def _mean(self, teachers: Sequence[Outputs]) -> Outputs | None:
        if len(teachers) < 2:
            return teachers[0] if teachers else None
        logits = [teacher.logits for teacher in teachers]
        if any(each is None for each in logits):
            return Outputs(None, teachers[0].embedding)
        # A sum of products: autocast would take a product of matrices (einsum too) in half precision.
        pairs = zip(self.weights, logits, strict=True)
        shares = [weight * each.float() for weight, each in pairs if each is not None]
        return Outputs(torch.stack(shares).sum(0), teachers[0].embedding)


def _reads_more_than_logits(entry: Entry, registry: Registry) -> bool:
    needs = registry.get("loss", entry["name"]).needs
    return "teacher" in needs or {"features", "teacher.logits"} <= needs


def add_student_heads(
    model: Backbone, entries: Sequence[Entry], registry: Registry, teacher_dims: Sequence[int]
) -> None:
    """Gives a student the heads that its losses ask for: a distillation token's, or one that replaces its own.

    Raises:
        StageError: a loss reads the distillation token of a student that has none; two losses replace the head, or one
            does with several teachers.
    """
    components = [(entry, registry.get("loss", entry["name"])) for entry in entries]
    for entry, component in components:
        if "token" in component.needs:
            if not model.has_token:
                example = "timm/deit_tiny_distilled_patch16_224"
                raise StageError(f"loss '{entry['name']}' needs a student with a distillation token, such as {example}")
            model.add_token_head()
    targets = [(entry, component.load()) for entry, component in components]
    makers = [
        (entry, target)
        for entry, target in targets
        if isinstance(target, type) and issubclass(target, Loss) and target.make_head is not None
    ]
    if not makers:
        return
    if len(makers) > 1:
        names = " and ".join(f"'{entry['name']}'" for entry, _ in makers)
        raise StageError(f"losses {names} both replace the student's classifier; take one of them")
    (entry, target), count = makers[0], len(teacher_dims)
    if count != 1:
        raise StageError(f"loss '{entry['name']}' replaces the student's classifier by its teacher's; give one teacher")
    assert target.make_head is not None
    model.head = target.make_head(model.dim, teacher_dims[0], model.classes, **entry["params"])


def build_losses(
    entries: Sequence[Entry],
    registry: Registry,
    student: Backbone,
    teachers: Sequence[Backbone],
    weights: Sequence[float],
    run: Mapping[str, Any],
    labels: Tensor,
    device: torch.device,
) -> MultiTeacherLoss:
    """The losses of one training run, built for its networks.

    Args:
        entries: name, params and weight of each loss.
        registry: where they are looked up.
        student: with the heads that `add_student_heads` gives it.
        teachers: frozen; none without distillation.
        weights: of the teachers.
        run: `image_size` and `epochs`.
        labels: class of every training sample.
        device: where the networks are.

    Raises:
        StageError: a method cannot work on these networks.
    """
    wants_features = any("features" in registry.get("loss", entry["name"]).needs for entry in entries)
    sides: list[Backbone | None] = [*teachers] or [None]
    assert student.head is not None
    assert student.classes is not None
    contexts = [
        LossContext(
            classes=student.classes,
            student_dim=student.dim,
            student_head=student.head,
            teacher_dim=teacher.dim if teacher else None,
            teacher_head=teacher.head if teacher and isinstance(teacher.head, nn.Linear) else None,
            student_features=_shapes(student, run["image_size"], device) if wants_features else [],
            teacher_features=_shapes(teacher, run["image_size"], device) if wants_features and teacher else [],
            labels=labels,
            epochs=run["epochs"],
            device=device,
        )
        for teacher in sides
    ]
    return MultiTeacherLoss(entries, registry, contexts, weights).to(device)


@torch.no_grad()
def _shapes(model: Backbone, size: int, device: torch.device) -> list[Shape]:
    """Shapes (C, H, W) of a network's maps."""
    mode = model.training
    maps = model.eval()(torch.zeros(1, 3, size, size, device=device), features=True).features
    model.train(mode)
    return [(shape[1], shape[2], shape[3]) for shape in (value.shape for value in maps)]
