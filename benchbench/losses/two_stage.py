"""Methods that initialise the student from the teacher's maps, and then leave it to the task."""

from __future__ import annotations

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext, Preparation
from benchbench.losses.catalog.features import StudentFirstParams
from benchbench.models.outputs import Outputs


class StudentFirst(Loss):
    """A loss on maps that trains the student alone first; a subclass gives its one term by `hint`.

    With `preparation` above 0, as in the papers: the term is all that the first stage has, and in the training that
    follows it is 0, without a gradient, so that the suite's other losses have the student to themselves. With 0 there
    is no first stage, and the term is part of the training from the first epoch to the last.

    Attributes:
        name: the loss's name, and its term's.
    """

    prepares: Preparation = "student"
    name: str
    params: StudentFirstParams

    def __init__(self, context: LossContext, params: StudentFirstParams):
        super().__init__(context)
        self.params = params
        self.preparation = params.preparation
        if self.preparation == 0:
            # Else it would join in where another loss of the suite has a first stage.
            self.prepares = "nothing"

    def hint(self, student: Outputs, teacher: Outputs) -> Tensor:
        """The method's own term, a scalar."""
        raise NotImplementedError

    def prepare(self, student: Outputs | None, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        assert student is not None
        return {self.name: self.hint(student, teacher)}

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        if self.preparation == 0:
            return {self.name: self.hint(student, teacher)}
        # The sum of no samples: 0 whatever the embedding is, and yet part of the graph, for a suite with no other loss.
        return {self.name: student.embedding[:0].sum()}
