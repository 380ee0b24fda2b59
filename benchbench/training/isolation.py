"""Isolation of runs that train side by side: the batch and the teachers' outputs are shared, and so read-only."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.models.outputs import Outputs


@contextlib.contextmanager
def checked_copies(batch: Batch, teacher_outputs: Sequence[Outputs]) -> Iterator[tuple[Batch, Sequence[Outputs]]]:
    """Copies for one step, so that a loss that writes into them harms nobody else.

    Raises:
        StageError: the step has written into one of them.
    """
    batch, teacher_outputs = copy.deepcopy((batch, teacher_outputs))
    watch = WriteWatch(batch, teacher_outputs)
    yield batch, teacher_outputs
    watch.require_none("one of its losses")


class WriteWatch:
    """A watch for writes into the tensors that runs share in a step, from now on."""

    def __init__(self, batch: Batch, teacher_outputs: Sequence[Outputs]):
        self.tensors = shared_tensors(batch, teacher_outputs)
        self.versions = [tensor._version for tensor in self.tensors]

    def require_none(self, writer: str) -> None:
        """Raises StageError where there was one, by the writer."""
        if self.versions != [tensor._version for tensor in self.tensors]:
            raise StageError(
                f"{writer} writes into the batch or the teacher's outputs, which other cells share; let it work on a "
                "copy"
            )


def shared_tensors(batch: Batch, teacher_outputs: Sequence[Outputs]) -> list[Tensor]:
    """All tensors that runs share in a step."""
    tensors = batch.tensors()
    for outputs in teacher_outputs:
        tensors += outputs.tensors()
    return tensors
