"""Trainings that end before their last epoch."""

from __future__ import annotations

import pytest

from benchbench.specs.parts import EarlyStopSpec
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort
from benchbench.training.early_stop import stops_early
from benchbench.training.loop import train
from tests.training.small import CPU, EveryStep, assert_same_end, same

NEVER_ENOUGH = EarlyStopSpec(patience=1, min_delta=0.9)


@pytest.mark.parametrize(
    ("patience", "min_delta", "accuracies", "stops"),
    [
        (1, 0, [0.1], False),
        (1, 0, [0.1, 0.1], True),
        (1, 0, [0.1, 0.2], False),
        (2, 0, [0.3, 0.1, 0.2], True),
        (2, 0, [0.3, 0.1, 0.4], False),
        (2, 0.1, [0.3, 0.35, 0.39], True),
        (2, 0.1, [0.3, 0.35, 0.41], False),
    ],
)
def test_patience(patience, min_delta, accuracies, stops):
    first_stage = {"epoch": 0.0, "loss": 1.0}
    curve = [first_stage, *({"validation_accuracy": each} for each in accuracies)]
    assert stops_early(EarlyStopSpec(patience=patience, min_delta=min_delta), curve) == stops
    assert not stops_early(None, curve)


@pytest.mark.parametrize("best", [False, True])
def test_a_run_ends_early_and_so_does_one_that_goes_on(make, tmp_path, best):
    every = EveryStep(StageFolder(tmp_path))
    run = make(epochs=9, early_stop=NEVER_ENOUGH, best=best, checkpoints=every)
    run.run()
    assert (run.position, len(run.curve), run.done) == ((2, 0), 2, True)
    assert max(every.files) == (2, 0)
    for where in ((1, 2), (2, 0)):
        folder = StageFolder(tmp_path / str(where) / tmp_path.name)
        folder.path.mkdir(parents=True)
        folder.checkpoint.write_bytes(every.files[where])
        checkpoints = Checkpoints(folder, 1e9)
        resumed = make(epochs=9, early_stop=NEVER_ENOUGH, best=best, checkpoints=checkpoints, start=4)
        resumed.run(checkpoints.load())
        assert_same_end(resumed, run)


def test_the_others_of_a_cohort_go_on(make):
    early, late, alone = make(early_stop=NEVER_ENOUGH), make(ema=0.5), make(ema=0.5)
    train(Cohort([early, late], early.inputs, Clock(CPU)))
    alone.run()
    assert (len(early.curve), len(late.curve)) == (2, 3)
    assert late.curve == alone.curve
    assert same(late.model.state_dict(), alone.model.state_dict())
