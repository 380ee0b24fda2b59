"""Training runs side by side: one batch and one forward pass of the teachers for all of them.

Nothing that one run does reaches another: each has its own weights, optimiser, losses and random numbers, and is at
its own place in its own run. So each ends with the numbers that it would have alone, and one that fails leaves the
others running.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.loader import Loader
from benchbench.data.prefetch import prefetch
from benchbench.errors import StageError
from benchbench.models.outputs import Outputs
from benchbench.training.clock import Clock
from benchbench.training.loop import Training, correct

Failures = dict[Training, Exception]


def run_together(members: Sequence[Training], states: Sequence[dict[str, Any] | None], clock: Clock) -> Failures:
    """Trains all of them to their ends, each from its checkpoint's state or from its start.

    Args:
        members: runs with the same loaders, teachers, data seed, batch size and epochs.
        states: theirs, in the same order; they need not be at the same place: those ahead wait.
        clock: books the time on the members' accounts.

    Returns:
        Why the members that failed did.
    """
    cohort = _Cohort(clock)
    for member, state in zip(members, states, strict=True):
        with cohort.guarded(member):
            member.begin(state)
            cohort.active.append(member)
    while running := [member for member in cohort.active if not member.done]:
        cohort.epoch(min(member.position for member in running))
    for member in list(cohort.active):
        with cohort.guarded(member):
            member.finish()
    return cohort.failed


def evaluate(members: Sequence[Training], loader: Loader, clock: Clock) -> list[np.ndarray | Exception]:
    """Whether each member's top class is right, for each image of a loader in order: [N], bool; or why it failed."""
    found: list[list[Tensor]] = [[] for _ in members]
    failed: dict[int, Exception] = {}
    accounts = [member.account for member in members]
    for member in members:
        member.model.eval()
    batches = loader.test_batches(members[0].recipe["batch_size"])
    with clock.section("evaluation", *accounts):
        for batch in batches:
            for number, member in enumerate(members):
                if number in failed:
                    continue
                try:
                    with clock.section("evaluation", member.account):
                        found[number].append(correct(member, batch))
                except Exception as error:
                    failed[number] = error
        return [failed.get(number) or torch.cat(answers).cpu().numpy() for number, answers in enumerate(found)]


class _Cohort:
    def __init__(self, clock: Clock):
        self.clock = clock
        self.active: list[Training] = []
        self.failed: Failures = {}
        self.compiled: set[Training] = set()
        self.trusted: set[tuple[Training, bool]] = set()

    @contextlib.contextmanager
    def guarded(self, *members: Training) -> Iterator[None]:
        """What goes wrong in here ends these members, and nobody else."""
        try:
            yield
        except Exception as error:
            for member in members:
                self.failed.setdefault(member, error)
                if member in self.active:
                    self.active.remove(member)

    def epoch(self, start: tuple[int, int]) -> None:
        """One epoch, from its step `start` on; members join at their own step."""
        epoch, step = start
        lead = min((member for member in self.active if not member.done), key=lambda member: member.position)
        with self.guarded(*self._at(epoch)):  # what they share is everybody's failure
            batches = lead.train.train_batches(lead.data_seed or 0, epoch, lead.recipe["batch_size"], step)
            batches = prefetch(batches, lead.device)
            while step < lead.steps and (taking := self._at(epoch, step)):
                batch, taught = self._shared(batches, taking, epoch + step / lead.steps)
                for member in taking:
                    with self.guarded(member), self.clock.section(self._name(member), member.account):
                        self._step(member, batch, taught)
                step += 1
                self._save([member for member in taking if member in self.active])
                taking = self._at(epoch, step)
            self._close(epoch, lead.steps)

    def _at(self, epoch: int, step: int | None = None) -> list[Training]:
        """The members that are in this epoch, or (where a step is given) whose next step this is or was before."""
        found = [member for member in self.active if not member.done and member.position[0] == epoch]
        return found if step is None else [member for member in found if member.position[1] == step]

    def _shared(self, batches: Iterator[Batch], taking: list[Training], epoch: float) -> tuple[Batch, list[Outputs]]:
        accounts = [member.account for member in taking]
        with self.clock.section("data", *accounts):
            batch = next(batches)
            batch.epoch = epoch
        lead = taking[0]
        assert lead.teach is not None
        # Maps are asked for where any member's losses read them.
        maps = any(member.losses.needs_features for member in taking)
        taught = []
        if lead.teach:
            with self.clock.section("teacher", *accounts), torch.no_grad():
                taught = [teach(batch, maps) for teach in lead.teach]
        return batch, taught

    def _close(self, epoch: int, steps: int) -> None:
        """The end of an epoch, for those members that have taken its last step."""
        ended = self._at(epoch, steps)
        loader = ended[0].validation if ended and epoch >= 0 else None
        found = evaluate(ended, loader, self.clock) if loader is not None else [None] * len(ended)
        for member, answers in zip(ended, found, strict=True):
            with self.guarded(member):
                if isinstance(answers, Exception):
                    raise answers
                member.close_epoch(None if answers is None else float(answers.mean()))
        self.clock.settle()
        self._save([member for member in ended if member in self.active])

    def _save(self, members: list[Training]) -> None:
        for member in members:
            if member.checkpoints.due():
                with self.guarded(member), self.clock.section("checkpoint", member.account):
                    self.clock.settle()
                    member.save()

    def _step(self, member: Training, batch: Batch, taught: list[Outputs]) -> None:
        """A member's step; its first one is on copies, to see that it leaves alone what it shares with the others."""
        stage = member, member.position[0] >= 0
        if stage in self.trusted:
            member.step(batch, taught)
            return
        batch, taught = copy.deepcopy((batch, taught))
        before = [tensor._version for tensor in _tensors(batch, taught)]
        member.step(batch, taught)
        if before != [tensor._version for tensor in _tensors(batch, taught)]:
            raise StageError(
                "one of its losses writes into the batch or the teacher's outputs, which other cells share; let it "
                "work on a copy"
            )
        self.trusted.add(stage)

    def _name(self, member: Training) -> str:
        """What a member's next step is booked under: a compiled network's first one is its compilation."""
        if member.network.config.compile and member not in self.compiled:
            self.compiled.add(member)
            return "compile"
        return "student" if member.position[0] >= 0 else "preparation"


def _tensors(batch: Batch, taught: Sequence[Outputs]) -> list[Tensor]:
    """All that members share in a step."""
    mixed = [batch.mix.labels, batch.mix.share] if batch.mix else []
    said = [[each.logits, each.embedding, *each.features, each.token_logits] for each in taught]
    found = [
        batch.images,
        batch.labels,
        batch.index,
        batch.synthetic,
        *mixed,
        *(value for values in said for value in values),
    ]
    return [tensor for tensor in found if tensor is not None]
