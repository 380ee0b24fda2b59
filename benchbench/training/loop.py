"""The training loop, of one run or of several side by side: one batch and one forward pass of the teachers for all.

Nothing that one run does reaches another: each has its own weights, optimiser, losses and random numbers, and is at its
own step of its own run. So each ends with the numbers that it would have alone, and one that fails leaves the others
running.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.loader import Loader
from benchbench.data.prefetch import prefetch
from benchbench.errors import StageError
from benchbench.hardware.memory import forget_peak
from benchbench.models.outputs import Outputs
from benchbench.training.answers import score_of
from benchbench.training.cohort import Cohort
from benchbench.training.distributed import World
from benchbench.training.finite import EmbeddingSpread, require_finite_outputs
from benchbench.training.isolation import WriteWatch, checked_copies
from benchbench.training.likely_classes import LikelyClasses
from benchbench.training.member import Member
from benchbench.training.stop import STOP
from benchbench.training.term_gradients import has_losses_to_compare, term_gradients


def train(cohort: Cohort) -> None:
    """Trains each member to its end, from its checkpoint or its start; those that fail are in `cohort.failures`."""
    for member in cohort.members:
        with cohort.isolated(member, thorough=True):
            member.begin()
    STOP.awaited = True  # from the first step on
    while running := [member for member in cohort.active() if not member.done]:
        _train_epoch(cohort, *min(member.position for member in running))
    for member in cohort.active():
        with cohort.isolated(member):
            member.finish()


def _train_epoch(cohort: Cohort, epoch: int, first_step: int) -> None:
    """Trains one epoch, from a step on; members join at their own step."""
    inputs, steps = cohort.inputs, cohort.inputs.steps
    with cohort.isolated(*cohort.at(epoch)):  # an error in what they share ends them all
        batches = inputs.train.train_batches(inputs.data_seed, epoch, inputs.batch_size, first_step)
        batches = prefetch(batches, inputs.device)
        for step in range(first_step, steps):
            members = cohort.at(epoch, step)
            if not members:  # the leaders have failed, and the others are at a later step
                break
            batch, teacher_outputs = _shared_step(cohort, members, batches, epoch + step / steps)
            watch = WriteWatch(batch, teacher_outputs)
            for member in members:
                begins = step == 0 and epoch in (-member.preparation, 0)
                _measure_gradients(cohort, member, batch, teacher_outputs)
                if member in cohort.failures:
                    continue
                with (
                    cohort.isolated(member, thorough=begins),
                    cohort.clock.section(member.section, member.account),
                ):
                    member.step(batch, teacher_outputs)
                # The first steps are on copies; a write in a later one ends all, before anything of it is saved.
                watch.require_none("a loss of one of the cells that train side by side")
            _save(cohort, members)
        _end_epoch(cohort, epoch)


def _measure_gradients(cohort: Cohort, member: Member, batch: Batch, teacher_outputs: Sequence[Outputs]) -> None:
    """Measures the gradient of each loss beside cross-entropy before the first step, in a training of one process.

    No number of the training changes, and the time is not charged: no training needs it.
    """
    if member.position != (0, 0) or member.world is not None or not has_losses_to_compare(member.model, member.losses):
        return
    with (
        cohort.isolated(member, thorough=True),
        cohort.clock.section("gradients", member.account),
        checked_copies(batch, teacher_outputs) as (batch, teacher_outputs),
    ):
        member.gradients = term_gradients(member.model, member.losses, batch, teacher_outputs, member.recipe)
    forget_peak(str(member.device))  # all terms of it, in float32, take more than a step


def _shared_step(
    cohort: Cohort, members: Sequence[Member], batches: Iterator[Batch], epoch: float
) -> tuple[Batch, list[Outputs]]:
    """The next batch, and each teacher's outputs for it: once for all members."""
    accounts, outputs = cohort.accounts(members), []
    with cohort.clock.section("data", *accounts):
        batch = next(batches)
        batch.epoch = epoch
    if cohort.inputs.teachers:
        # Maps are asked for where any member's losses read them.
        maps = any(member.losses.needs_features for member in members)
        with cohort.clock.section("teacher", *accounts), torch.no_grad():
            outputs = [teacher(batch, maps) for teacher in cohort.inputs.teachers]
    cohort.accept_state()
    return batch, outputs


def _end_epoch(cohort: Cohort, epoch: int) -> None:
    """Evaluates the members that have taken the epoch's last step, and notes the epoch in their curves."""
    cohort.check_functions(cohort.at(epoch))
    members, validation = cohort.at(epoch, cohort.inputs.steps), cohort.inputs.validation
    answers: dict[Member, np.ndarray] = {}
    if members and validation is not None and epoch >= 0:
        with contextlib.ExitStack() as weights:
            for member in members:
                weights.enter_context(member.evaluated())
            answers = predict(cohort, members, validation)
    for member in members:
        if member not in cohort.failures:
            with cohort.isolated(member):
                _end_epoch_of(member, answers.get(member), validation)
    cohort.clock.settle()
    _save(cohort, members)


def _end_epoch_of(member: Member, answers: np.ndarray | None, validation: Loader | None) -> None:
    """Notes the epoch in the curve, with the score of the answers on the validation images.

    Raises:
        StageError: a value is not finite, or there is no score.
    """
    if answers is None or validation is None:
        member.end_epoch(None)
        return
    score = score_of(answers, validation.labels.cpu().numpy())
    is_scored = not math.isnan(score)
    member.end_epoch(score if is_scored else None)  # it says first what is not finite
    require_finite_outputs(answers, "validation")
    if not is_scored:
        raise StageError(f"no pixel or object of the {len(answers)} validation images counts, so there is no score")


def _save(cohort: Cohort, members: Sequence[Member]) -> None:
    """Writes the checkpoints that are due, and ends the stage where that is asked for."""
    ends = STOP.made  # a request from here on would leave the first ones without a new checkpoint
    for member in members:
        if member not in cohort.failures and member.checkpoints.due():
            with cohort.isolated(member), cohort.clock.section("checkpoint", member.account):
                cohort.clock.settle()
                member.save()
    if ends:
        STOP.leave()


def predict(
    cohort: Cohort, members: Sequence[Member], loader: Loader, likely: bool = False
) -> dict[Member, np.ndarray]:
    """The answers on each image of a loader, in order, by member: see `benchbench.training.answers.answers_of`.

    Without the members that fail. The embeddings are in each one's `spread`, and the likeliest classes in its `likely`
    where that is asked for.
    """
    parts: dict[Member, list[Tensor]] = {member: [] for member in members}
    indices: list[Tensor] = []
    for member in members:
        member.model.eval()
        member.spread = EmbeddingSpread()
        member.likely = LikelyClasses() if likely else None
    with cohort.clock.section("evaluation", *cohort.accounts(members)):
        for batch in loader.test_batches(cohort.inputs.batch_size):
            indices.append(batch.index)
            for member in members:
                if member in cohort.failures:
                    continue
                with cohort.isolated(member), cohort.clock.section("evaluation", member.account):
                    parts[member].append(member.answers(batch))
        if cohort.inputs.world is not None:
            for member in members:
                with cohort.isolated(member):
                    parts[member] = [_of_all(cohort.inputs.world, member, parts[member], indices, loader)]
        return {
            member: torch.cat(answers).cpu().numpy()
            for member, answers in parts.items()
            if member not in cohort.failures
        }


def _of_all(
    world: World, member: Member, classes: Sequence[Tensor], indices: Sequence[Tensor], loader: Loader
) -> Tensor:
    """The top class of each image of a loader, in order [N], where each process has those of its own batches.

    The member's spread is that of all embeddings, and its likeliest classes are those of all images.
    """
    whole = torch.zeros_like(loader.labels)
    for part, index in zip(classes, indices, strict=True):
        whole[index] = part
    if member.likely is not None:
        member.likely.gather(world, indices, len(whole))
    member.spread = EmbeddingSpread.of(world.each(EmbeddingSpread.of([member.spread])))
    return world.total(whole)
