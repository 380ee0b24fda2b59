"""The contract of a loss: named terms from student and teacher outputs; the suite gives the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.models.outputs import Outputs

Shape = tuple[int, int, int]
Rest = Callable[[int, Tensor], Outputs]
Preparation = Literal["nothing", "parts", "student"]


@dataclass
class LossContext:
    """The networks and the training run that a loss is built for, once per run.

    Attributes:
        classes: number of classes.
        student_dim: width D_s of the student's embedding.
        teacher_dim: width D_t of the teacher's embedding; None without a teacher.
        student_head: the student's classifier, embedding [B, D_s] -> logits [B, classes]; it trains with the student,
            so a loss may use it but must not keep it as a part of its own (`object.__setattr__` or a list around it).
        teacher_head: the teacher's frozen classifier, embedding [B, D_t] -> logits [B, classes]; or None.
        class_weights: of each class in the cross-entropy [classes]; None for equal ones.
        student_rest, teacher_rest: run the networks from one of their maps on, as `Backbone.rest`; None for networks
            whose stages cannot be run apart, and for a teacher that is not there.
        student_features: shapes (C, H, W) of the student's feature maps; empty unless a loss needs `features`.
        teacher_features: the teacher's, likewise.
        student_pools, teacher_pools: whether the embedding is the mean of the last map over its positions, and neither
            a class token's nor normalised afterwards; True unless a loss needs `features`.
        labels: class of every training sample [samples], int64, on the training device; `Batch.index` points into it.
        epochs: length of the training run; `Batch.epoch` runs from 0 up to it.
        device: the training device.
    """

    classes: int
    student_dim: int
    teacher_dim: int | None
    student_head: nn.Module
    teacher_head: nn.Linear | None
    labels: Tensor
    epochs: int
    device: Any
    student_features: list[Shape] = field(default_factory=list)
    teacher_features: list[Shape] = field(default_factory=list)
    class_weights: Tensor | None = None
    student_rest: Rest | None = None
    teacher_rest: Rest | None = None
    student_pools: bool = True
    teacher_pools: bool = True


class Loss(nn.Module):
    """A loss with parts of its own: projectors (parameters, trained with the student) or memory banks (buffers).

    The weighted sum calls it in float32, outside of autocast, with a teacher whose outputs get no gradient. It checks
    before that there is everything that the component `needs`.

    State that must survive a checkpoint is a parameter or a buffer; the training moves both to its device. Random
    numbers come from torch's global generator, which the training loop seeds anew at every step, so that a resumed run
    draws the same ones.

    A method of two stages sets `prepares`. Before the first epoch the loop runs `preparation` x epochs epochs (rounded
    up) on `prepare` alone, unweighted, with an optimiser of its own; then training begins with a fresh one.

    Attributes:
        prepares: the part that `prepare` trains: "nothing" (there is no such stage), the loss's own "parts" (from the
            teacher's outputs alone: the student is not even run), or the "student" together with them.
        preparation: length of that stage as a share of the recipe's epochs; set by the loss's constructor.
        preparation_rate: the stage's learning rate, constant, as a share of the recipe's.
        make_head: for methods that give the student another classifier: `(student_dim, teacher_dim, classes, **params)
            -> nn.Module`, embedding [B, D_s] -> logits [B, classes]; a `benchbench.models.backbone.MapHead` reads the
            last map [B, C, h, w] in its place. It becomes the student's task head before the loss is built, is trained
            as such, and is saved with the student. None: the student's own linear head.
    """

    prepares: Preparation = "nothing"
    preparation: float = 0.0
    preparation_rate: float = 1.0
    make_head: ClassVar[Callable[..., nn.Module] | None] = None

    def __init__(self, context: LossContext):
        super().__init__()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms; the weighted sum adds them up, times the suite's weight.

        Args:
            student: outputs with a gradient.
            teacher: constants; None where the run has no teacher, for a loss that needs none.
            batch: the images that they are of.
        """
        raise NotImplementedError

    def prepare(self, student: Outputs | None, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms of the first stage; `student` is None where `prepares` is "parts"."""
        raise NotImplementedError
