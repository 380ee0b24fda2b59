"""Side by side, each ends with the numbers that it has alone."""

from __future__ import annotations

import pytest
import torch

from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from tests.training.cohort.conftest import MEMBERS, together
from tests.training.small import (
    EveryStep,
    assert_same_end,
)

pytestmark = pytest.mark.whole_run


def test_each_ends_bit_for_bit_as_alone(make, alone):
    expected = alone()
    members = {name: make(**options) for name, options in MEMBERS.items()}
    torch.seed()
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])
    assert [len(member.curve) for member in members.values()] == [3, 3, 3, 3, 3, 3, 5, 6, 4]
    weights = {member.model.trunk[0][0].weight.detach().numpy().tobytes() for member in members.values()}
    assert len(weights) == len(MEMBERS)  # the cases are not one case


def test_the_order_of_the_members_does_not_matter(make, alone):
    names = ["dropout", "memory bank", "two stages", "projector, wider, best"]
    expected = alone(names)
    members = {name: make(**MEMBERS[name]) for name in reversed(names)}
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])


class StoppedError(Exception):
    pass


class UpTo(EveryStep):
    """Saves at every opportunity, and stops the run behind its save of that number."""

    def __init__(self, folder: StageFolder, number: int):
        super().__init__(folder)
        self.number = number

    def save(self, state):
        super().save(state)
        if len(self.files) > self.number:
            raise StoppedError


def test_members_from_different_checkpoints_catch_up(make, alone, tmp_path):
    """From its start, a first stage, the middle and the end of epochs, and one that had been done."""
    saves = {
        "plain": 0,
        "two stages": 4,  # within the first stage
        "dropout": 3,  # after its fourth step
        "another seed": 5,  # between two epochs
        "memory bank": 14,
        "projector, wider, best": 8,
        "maps": 17,  # after the last epoch
        "a longer first stage": None,
    }
    expected, members = alone(tuple(saves)), {}
    for index, (name, save) in enumerate(saves.items()):
        # Other weights and projectors to begin with: all that counts is in the checkpoint.
        members[name] = make(**MEMBERS[name], start=0 if save is None else 50 + index)
        if save is not None:
            folder = StageFolder(tmp_path / "every" / str(index))
            folder.path.mkdir(parents=True)
            with pytest.raises(StoppedError):
                make(**MEMBERS[name], checkpoints=UpTo(folder, save)).run()
            members[name].state = Checkpoints(folder, 1e9).load()
    states = [member.state for member in members.values() if member.state]
    assert len({(state["epoch"], state["step"]) for state in states}) == len(saves) - 1
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])
