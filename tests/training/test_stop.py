"""A request to end: the stage saves, ends, and goes on later to the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.stop import STOP, StageStopped
from tests.training.small import assert_same_end


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    STOP.clear()
    yield
    STOP.clear()


class AtStep(Checkpoints):
    """Asked to end at a step."""

    def __init__(self, folder: StageFolder, step: int):
        super().__init__(folder, 1e9)
        self.left = step

    def due(self) -> bool:
        self.left -= 1
        if self.left == 0:
            STOP.reason = StageStopped()
        return super().due()


@pytest.mark.parametrize("step", [1, 4, 8])
def test_a_stage_that_is_asked_to_end_saves_first_and_goes_on_bit_for_bit(make, tmp_path, step):
    expected = make(["ce", "kd"], mix=["mixup"])
    expected.run()
    folder = StageFolder(tmp_path)
    cut = make(["ce", "kd"], mix=["mixup"], checkpoints=AtStep(folder, step))
    with pytest.raises(StageStopped):
        cut.run()
    assert not cut.done
    STOP.clear()
    state = Checkpoints(folder, 1e9).load()
    assert (state["epoch"], state["step"]) == cut.position
    resumed = make(["ce", "kd"], mix=["mixup"])
    resumed.run(state)
    assert_same_end(resumed, expected)


def test_without_a_request_nothing_is_saved_or_ended(make, tmp_path):
    run = make(checkpoints=Checkpoints(StageFolder(tmp_path), 1e9))
    run.run()
    assert run.done
    assert STOP.awaited
    assert not StageFolder(tmp_path).checkpoint.exists()
