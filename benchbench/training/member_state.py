"""The state of a network that trains, as its checkpoints hold it."""

from __future__ import annotations

from typing import NamedTuple, NotRequired, TypedDict

from torch import Tensor

from benchbench.specs.parts import Json
from benchbench.specs.records import CurveRow

TensorDict = dict[str, Tensor]


class BestEpoch(NamedTuple):
    """The epoch that is best on the validation images: its number from 1, its accuracy, and its weights."""

    epoch: int
    accuracy: float
    weights: TensorDict


class MemberState(TypedDict):
    """The content of a checkpoint.

    Attributes:
        epoch, step: of the next step.
        sums: of the epoch's losses so far, by term, and `FINITE_STEPS`.
        optimizer, scaler: as PyTorch gives them.
        best_epoch: the fields of `BestEpoch`.
        seconds, alone_seconds: as `here` and `alone` of `Account`.
        processes: that the seconds are of; 1 where it is not there.
        gradients: the fields of `GradientRecord`.
        average: of the weights; not there where the recipe asks for none.
        teachers: executions of live ones, by role; not in those of earlier versions.
    """

    epoch: int
    step: int
    sums: TensorDict
    model: TensorDict
    losses: TensorDict
    optimizer: dict[str, object]
    scaler: dict[str, object]
    best_epoch: tuple[int, float, TensorDict] | None
    curve: list[CurveRow]
    seconds: dict[str, float]
    alone_seconds: dict[str, float]
    threads: int
    processes: NotRequired[int]
    gradients: NotRequired[Json | None]
    average: NotRequired[TensorDict]
    execution: Json
    teachers: NotRequired[dict[str, Json]]
