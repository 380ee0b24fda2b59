"""Batches, teachers and time are shared by the members of a cohort."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from tests.training.cohort.conftest import HELD_OUT, MEMBERS, STEPS, BoomError, breaking, cohort_of, together
from tests.training.small import (
    BATCH,
    EPOCHS,
    Passing,
    Run,
    evaluate,
)

pytestmark = pytest.mark.whole_run


def counted(member: Run) -> list[bool]:
    """The `maps` argument of each call of a member's teacher."""
    (real,), calls = member.inputs.teachers, []

    def teacher(batch, maps):
        calls.append(maps)
        return real(batch, maps)

    member.inputs = replace(member.inputs, teachers=[teacher])
    return calls


def test_the_teacher_is_run_once_a_batch_for_all(make):
    members = {name: make(**MEMBERS[name]) for name in ("dropout", "another seed", "memory bank")}
    calls = [counted(member) for member in members.values()]
    batches = []
    for member in members.values():
        real = member.inputs.train.train_batches
        member.inputs.train.train_batches = lambda *args, real=real: (
            batches.append(each.index) or each for each in real(*args)
        )
    together(members)
    assert sum(map(len, calls)) == len(batches) == EPOCHS * STEPS
    assert not any(itertools.chain(*calls))


def test_maps_are_asked_for_where_somebody_reads_them(make):
    members = {name: make(**MEMBERS[name]) for name in ("dropout", "maps")}
    calls = [counted(member) for member in members.values()]
    breaking(members["maps"], STEPS + 1, BoomError())
    together(members)
    flags = list(itertools.chain(*calls))
    # The sixth step is begun together; from then on nobody needs them.
    assert flags == [True] * (STEPS + 1) + [False] * (2 * STEPS - 1)


def slowed(make, passing, name, tmp_path) -> Run:
    """A member whose every part takes its own time."""
    folder = StageFolder(tmp_path / "slowed" / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    member = make(**MEMBERS[name], checkpoints=Checkpoints(folder, 0))
    passing.slow(member.inputs.train, "train_batches", 1)
    passing.slow(member.teachers[0], "forward", 100)
    passing.slow(member.losses, "forward", 10_000 * (1 + list(MEMBERS).index(name)))
    passing.slow(member.losses, "prepare", 7_000_000)
    passing.slow(member.inputs.validation, "test_batches", 10)
    passing.slow(member.checkpoints, "save", 1000)
    return member


def test_the_accounts_add_up(make, monkeypatch, tmp_path):
    """`here` of all is the time that has passed; `alone` is what each would have booked by itself."""
    names = ["plain", "dropout", "memory bank", "two stages"]
    passing = Passing(monkeypatch)
    by_itself = {name: slowed(make, passing, name, tmp_path) for name in names}
    for member in by_itself.values():
        member.run()
    began = passing.now
    members = {name: slowed(make, passing, name, tmp_path) for name in names}
    assert together(members) == {}
    elapsed = passing.now - began
    assert sum(sum(member.account.here.values()) for member in members.values()) == pytest.approx(elapsed, rel=1e-12)
    for name, member in members.items():
        assert member.account.alone == by_itself[name].account.here == by_itself[name].account.alone
    assert elapsed < sum(sum(member.account.alone.values()) for member in members.values())
    # The first stage of "two stages" is its alone; the rest is shared by four.
    here = {name: member.account.here for name, member in members.items()}
    assert here["plain"]["teacher"] == EPOCHS * STEPS * 100 / 4
    assert here["two stages"]["teacher"] == (2 * STEPS + EPOCHS * STEPS / 4) * 100
    assert here["plain"]["student"] == EPOCHS * STEPS * 10_000
    assert here["two stages"]["preparation"] == 2 * STEPS * 7_000_000


def test_a_member_that_fails_pays_no_longer(make, monkeypatch, tmp_path):
    passing = Passing(monkeypatch)
    members = {name: slowed(make, passing, name, tmp_path) for name in ("plain", "dropout")}
    breaking(members["plain"], STEPS + 1, BoomError())
    began = passing.now
    together(members)
    accounts = {name: member.account for name, member in members.items()}
    assert sum(sum(account.here.values()) for account in accounts.values()) == pytest.approx(passing.now - began)
    assert accounts["plain"].here["teacher"] == (STEPS + 1) * 100 / 2
    assert accounts["dropout"].here["teacher"] == (STEPS + 1) * 100 / 2 + (2 * STEPS - 1) * 100
    assert accounts["dropout"].alone["teacher"] == EPOCHS * STEPS * 100


def test_all_are_tested_on_the_same_batches(make):
    members = [make(**MEMBERS[name]) for name in ("plain", "projector, wider, best")]
    loader, indices = members[0].inputs.validation, []
    real = loader.test_batches
    loader.test_batches = lambda size: (indices.append(batch.index) or batch for batch in real(size))
    hits = evaluate(cohort_of(members), members, loader)
    assert torch.cat(indices).tolist() == list(range(len(HELD_OUT)))
    for member in members:
        with torch.no_grad():
            right = [member.model(batch.images).logits.argmax(1) == batch.labels for batch in real(BATCH)]
        assert np.array_equal(hits[member], torch.cat(right).numpy())
