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
    tensors = shared_tensors(batch, teacher_outputs)
    versions = [tensor._version for tensor in tensors]
    yield batch, teacher_outputs
    if versions != [tensor._version for tensor in tensors]:
        raise StageError(
            "one of its losses writes into the batch or the teacher's outputs, which other cells share; let it "
            "work on a copy"
        )


def shared_tensors(batch: Batch, teacher_outputs: Sequence[Outputs]) -> list[Tensor]:
    """All tensors that runs share in a step."""
    tensors = batch.tensors()
    for outputs in teacher_outputs:
        tensors += outputs.tensors()
    return tensors
