"""A check while planning that a method can work on its networks: they are built without memory, nothing is computed.

Imports torch only when a check runs, so that a plan can describe one without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.components import Registry
from benchbench.costs.without_memory import build_without_memory, without_memory
from benchbench.errors import StageError, one_line
from benchbench.specs.parts import LossSpec, ModelSpec, Role, Spec

if TYPE_CHECKING:
    from benchbench.models.backbone import Backbone


class DryRunTeacher(Spec):
    """A teacher of a dry run; `has_head` if it is adapted to the task."""

    model: ModelSpec
    has_head: bool


class DryRunRequest(Spec):
    """A cell's networks and losses.

    Attributes:
        student, teachers: without weights.
        loss: of the cell's method.
        classes: of the data set; 0 without labels.
        image_size: height and width of the images in pixels.
        epochs: length of the training.
    """

    student: ModelSpec
    teachers: tuple[DryRunTeacher, ...] = ()
    loss: tuple[LossSpec, ...]
    classes: int
    image_size: int
    epochs: int


class LossDryRun:
    """Builds the students, teachers and losses of cells on the meta device; keeps the networks, which cells share."""

    def __init__(self, registry: Registry):
        self.registry = registry
        self.networks: dict[tuple[Role, str, int | None], Backbone] = {}

    def refusal(self, request: DryRunRequest) -> str | None:
        """The reason for which the losses of a cell cannot work on its networks; None where they can."""
        import torch

        from benchbench.losses.multi_teacher import LossSetup, add_student_heads, build_losses

        student = self._network("student", request.student, request.classes or None)
        teachers = [
            self._network("teacher", teacher.model, request.classes if teacher.has_head else None)
            for teacher in request.teachers
        ]
        setup = LossSetup(
            labels=torch.arange(2 * max(request.classes, 1)) % max(request.classes, 1),
            image_size=request.image_size,
            epochs=request.epochs,
            device=torch.device("meta"),
            teacher_weights=(1.0,) * len(teachers),
        )
        reads_maps = ("features" in self.registry.get("loss", loss.name).needs_of(loss.params) for loss in request.loss)
        if any(reads_maps):
            with without_memory():  # the networks keep the shapes, which losses ask for
                for network in (student, *teachers):
                    network.map_shapes(request.image_size)
        head, token_head = student.head, student.token_head
        try:
            with setup.device:
                add_student_heads(student, request.loss, self.registry, [teacher.dim for teacher in teachers])
            build_losses(request.loss, self.registry, student, teachers, setup)
        except StageError as error:
            return one_line(error)
        finally:
            student.head, student.token_head = head, token_head
        return None

    def _network(self, role: Role, model: ModelSpec, classes: int | None) -> Backbone:
        from benchbench.models.build import build_backbone

        key = (role, model.model_dump_json(), classes)
        if key not in self.networks:
            self.registry.get(role, model.source).load()  # some libraries compute with tensors at import
            self.networks[key] = build_without_memory(lambda: build_backbone(model, role, self.registry, classes))
        return self.networks[key]
