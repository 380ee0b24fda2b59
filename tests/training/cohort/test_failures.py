"""A member that fails leaves the others as they are."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort
from benchbench.training.global_state import StateWatch
from benchbench.training.loop import train
from tests.training.cohort.conftest import MEMBERS, STEPS, BoomError, breaking, cohort_of, together
from tests.training.small import (
    CPU,
    EPOCHS,
    EveryStep,
    Run,
    assert_same_end,
    evaluate,
)

pytestmark = pytest.mark.whole_run


OTHERS = ["dropout", "memory bank", "two stages"]


@pytest.mark.parametrize(("when", "place"), [(1, 0), (STEPS, 1), (STEPS + 2, 3), (EPOCHS * STEPS, 0)])
def test_one_that_raises_leaves_the_others(when, place, make, alone):
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in OTHERS}
    bad = make(**MEMBERS["plain"])
    breaking(bad, when, BoomError("no such thing"))
    items = list(members.items())
    items.insert(place, ("bad", bad))
    failed = together(dict(items))
    assert list(failed) == ["bad"]
    assert isinstance(failed["bad"], BoomError)
    assert not bad.done
    for name, member in members.items():
        assert_same_end(member, expected[name])


def test_one_that_runs_out_of_memory_gives_the_memory_of_its_step_back(make):
    activations = []

    def forward(student, teachers, batch):
        large = torch.zeros(8)
        activations.append(weakref.ref(large))
        raise MemoryError

    member = make(**MEMBERS["dropout"])
    member.losses.forward = forward
    assert isinstance(together({"large": member})["large"], MemoryError)
    assert [each() for each in activations] == [None, None]  # the measurement of its gradients, and the first step


def test_one_whose_loss_is_not_finite_leaves_the_others(make, alone):
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in ["plain", *OTHERS]}
    breaking(members["plain"], STEPS + 2, float("nan"))
    failed = together(members)
    assert list(failed) == ["plain"]
    assert isinstance(failed["plain"], StageError)
    assert str(failed["plain"]).startswith("loss is nan in epoch 2 (terms: ")
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


def test_one_that_cannot_be_evaluated_leaves_the_others(make, alone):
    """It trains, and breaks in eval mode: at the end of the first epoch, and where all are tested."""
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in ["plain", *OTHERS]}

    def breaks(part, _given):
        if not part.training:
            raise BoomError

    hook = members["plain"].model.register_forward_pre_hook(breaks)
    failed = together(members)
    assert {name: type(error) for name, error in failed.items()} == {"plain": BoomError}
    assert members["plain"].position == (0, STEPS)
    for name in OTHERS:
        assert_same_end(members[name], expected[name])
    loader = members["dropout"].inputs.validation
    cohort = cohort_of([members["plain"], members["dropout"]])
    hits = evaluate(cohort, cohort.members, loader)
    assert {member: type(error) for member, error in cohort.failures.items()} == {members["plain"]: BoomError}
    assert list(hits) == [members["dropout"]]
    assert np.array_equal(hits[members["dropout"]], members["dropout"].hits())
    hook.remove()


def test_one_that_cannot_begin_or_be_saved_leaves_the_others(make, tmp_path, alone):
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in OTHERS}
    nowhere = Checkpoints(StageFolder(tmp_path / "not" / "there"), 0)
    members["unsaved"] = make(checkpoints=nowhere)
    members["unlike its checkpoint"] = make()
    other = make(width=4)
    other.begin()
    other.checkpoints = EveryStep(StageFolder(tmp_path))
    other.save()
    members["unlike its checkpoint"].state = Checkpoints(StageFolder(tmp_path), 1e9).load()
    failed = together(members)
    assert {name: type(error) for name, error in failed.items()} == {
        "unsaved": FileNotFoundError,
        "unlike its checkpoint": RuntimeError,
    }
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


@pytest.mark.parametrize("shared", ["images", "labels", "logits", "embedding"])
def test_one_that_writes_into_what_they_share_fails_before_it_harms_the_others(shared, make, alone):
    (expected,) = alone(["dropout"]).values()
    writer, other = make(["ce", "kd"]), make(**MEMBERS["dropout"])
    real = writer.losses.forward

    def forward(student, teachers, batch):
        getattr(teachers[0] if shared in ("logits", "embedding") else batch, shared).add_(1).remainder_(2)
        return real(student, teachers, batch)

    writer.losses.forward = forward
    failed = together({"writer": writer, "other": other})
    assert list(failed) == ["writer"]
    assert "writes into the batch or the teacher's outputs" in str(failed["writer"])
    assert_same_end(other, expected)


@pytest.mark.parametrize("shared", ["labels", "logits"])
def test_a_later_write_into_what_they_share_ends_all(shared, make):
    members = {"writer": make(["ce", "kd"]), "other": make(**MEMBERS["dropout"])}
    real, calls = members["writer"].losses.forward, []

    def forward(student, teachers, batch):
        calls.append(batch)
        if len(calls) > STEPS:
            (teachers[0] if shared == "logits" else batch).__dict__[shared].add_(1).remainder_(2)
        return real(student, teachers, batch)

    members["writer"].losses.forward = forward
    failed = together(members)
    assert list(failed) == list(members)
    message = "a loss of one of the cells that train side by side writes into the batch or the teacher's outputs"
    assert {message in str(error) for error in failed.values()} == {True}
    assert len(calls) == STEPS + 1


def test_the_leader_that_fails_is_followed_by_another(make, tmp_path):
    """The one that is behind leads; when it fails the others go on from where they are."""
    leader, follower, expected = make(), make(**MEMBERS["dropout"]), make(**MEMBERS["dropout"])
    folder = StageFolder(tmp_path)
    every = EveryStep(folder)
    expected.checkpoints = every
    expected.run()
    folder.checkpoint.write_bytes(every.files[0, 3])
    follower.state = Checkpoints(folder, 1e9).load()
    breaking(leader, 2, BoomError())
    assert list(together({"leader": leader, "follower": follower})) == ["leader"]
    assert_same_end(follower, expected)


def test_an_error_in_what_they_share_ends_them_all(make):
    members = {name: make(**MEMBERS[name]) for name in OTHERS}

    def teacher(batch, maps):
        raise BoomError

    for member in members.values():
        member.inputs = replace(member.inputs, teachers=[teacher])
    assert {type(error) for error in together(members).values()} == {BoomError}


def test_a_cohort_of_none_trains_nothing(make):
    cohort = Cohort([], make().inputs, Clock(CPU))
    train(cohort)
    assert cohort.failures == {}


def doing(member: Run, when: int, act: Callable[[], object]) -> None:
    """At that step, its losses do something before they are computed; they are cross-entropy alone."""
    real, calls = member.losses.forward, 0

    def forward(*args):
        nonlocal calls
        calls += 1
        if calls == when:
            act()
        return real(*args)

    member.losses.forward = forward


@pytest.mark.parametrize("when", [1, STEPS + 2])
def test_one_that_leaves_global_state_changed_leaves_the_others(when, make, alone):
    expected = alone(OTHERS)
    members = {"plain": make(**MEMBERS["plain"])} | {name: make(**MEMBERS[name]) for name in OTHERS}
    doing(members["plain"], when, lambda: torch.use_deterministic_algorithms(True, warn_only=True))
    failed = together(members, StateWatch())
    assert list(failed) == ["plain"]
    assert "deterministic algorithms from False" in str(failed["plain"])
    assert not torch.are_deterministic_algorithms_enabled()
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


def test_a_function_that_is_replaced_in_the_first_step_harms_nobody(make, alone):
    expected = alone(OTHERS)
    members = {"plain": make(**MEMBERS["plain"])} | {name: make(**MEMBERS[name]) for name in OTHERS}
    real = torch.nn.functional.cross_entropy
    doing(
        members["plain"], 1, lambda: setattr(torch.nn.functional, "cross_entropy", partial(real, label_smoothing=0.9))
    )
    failed = together(members, StateWatch())
    assert list(failed) == ["plain"]
    assert "torch.nn.functional.cross_entropy was replaced" in str(failed["plain"])
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


def test_a_function_that_is_replaced_later_ends_them_all(make):
    """Nobody's epoch can be trusted: each is to begin again, alone."""
    members = {name: make(**MEMBERS[name]) for name in ("plain", "dropout")}
    doing(members["plain"], 2, lambda: setattr(torch.Tensor, "softmax", torch.Tensor.log_softmax))
    failed = together(members, StateWatch())
    assert {name: (error.changes, error.own) for name, error in failed.items()} == {
        name: (["torch.Tensor.softmax was replaced"], False) for name in members
    }
