"""Runs that train side by side, and the batches and teachers that they share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from benchbench.data.loader import Loader
from benchbench.errors import GlobalStateError, clear_frames, is_out_of_memory
from benchbench.hardware.memory import free_memory
from benchbench.training.clock import Account, Clock
from benchbench.training.distributed import World
from benchbench.training.global_state import StateWatch
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
        world: of several processes that train one member together; None where this one is alone.
    """

    train: Loader
    validation: Loader | None
    teachers: Sequence[TeacherForward]
    batch_size: int
    data_seed: int
    device: torch.device
    world: World | None = None

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
        state: of the process, which no member may leave changed; None for a member alone, whom it harms not.
    """

    members: Sequence[Member]
    inputs: SharedInputs
    clock: Clock
    failures: dict[Member, Exception] = field(default_factory=dict)
    state: StateWatch | None = None

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
    def isolated(self, *members: Member, thorough: bool = False) -> Iterator[None]:
        """An error in here ends these members, and no other; the memory of their step is free for the others.

        So does global state that one member leaves changed; `thorough` looks for replaced functions too.
        """
        try:
            if self.state is None or len(members) != 1:
                yield
            else:
                with self.state.turn(thorough):
                    yield
        except Exception as error:
            clear_frames(error)
            if is_out_of_memory(error):
                free_memory(self.inputs.device.type)
            for member in members:
                self.failures.setdefault(member, error)

    def accept_state(self) -> None:
        """Takes the state of the process as images and teachers leave it, which all members share."""
        if self.state is not None:
            self.state.accept_changed()

    def check_functions(self, members: Sequence[Member]) -> None:
        """Ends these members where somebody has replaced a function of torch since the last look: none is innocent."""
        if self.state is not None and (changes := self.state.changes(thorough=True)):
            for member in members:
                self.failures.setdefault(member, GlobalStateError((change.text for change in changes), own=False))
