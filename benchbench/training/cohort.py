"""Runs that train side by side, and the batches and teachers that they share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from benchbench.data.loader import Loader
from benchbench.errors import clear_frames, is_out_of_memory
from benchbench.hardware.memory import free_memory
from benchbench.training.clock import Account, Clock
from benchbench.training.member import Member
from benchbench.training.teachers import TeacherForward


@dataclass(frozen=True)
class SharedInputs:
    """The inputs of all members.

    Attributes:
        train: the training images.
        validation: those held out; None without any.
        teachers: one per teacher; none without distillation.
        batch_size: images.
        data_seed: of order and augmentation.
        device: the training device.
    """

    train: Loader
    validation: Loader | None
    teachers: Sequence[TeacherForward]
    batch_size: int
    data_seed: int
    device: torch.device

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.train.steps(self.batch_size)


@dataclass(frozen=True)
class Cohort:
    """Members that train side by side on the same inputs.

    Attributes:
        members: they need not be at the same step: those ahead wait.
        inputs: of all of them.
        clock: books the time on the members' accounts.
        failures: the error that ended each member that failed.
    """

    members: Sequence[Member]
    inputs: SharedInputs
    clock: Clock
    failures: dict[Member, Exception] = field(default_factory=dict)

    def active(self) -> list[Member]:
        """Members that have not failed."""
        return [member for member in self.members if member not in self.failures]

    def at(self, epoch: int, step: int | None = None) -> list[Member]:
        """Active members whose next step is in this epoch, or is this step of it."""
        members = [member for member in self.active() if not member.done and member.position[0] == epoch]
        return members if step is None else [member for member in members if member.position[1] == step]

    def accounts(self, members: Sequence[Member]) -> list[Account]:
        return [member.account for member in members]

    @contextlib.contextmanager
    def isolated(self, *members: Member) -> Iterator[None]:
        """An error in here ends these members, and no other; the memory of their step is free for the others."""
        try:
            yield
        except Exception as error:
            clear_frames(error)
            if is_out_of_memory(error):
                free_memory(self.inputs.device.type)
            for member in members:
                self.failures.setdefault(member, error)
