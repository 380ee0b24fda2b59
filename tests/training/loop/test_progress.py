"""Progress and the times of a training run."""

from __future__ import annotations

from benchbench.specs.records import Progress
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from tests.training.conftest import HELD_OUT, STEPS
from tests.training.small import (
    BATCH,
    EPOCHS,
    EveryStep,
    Passing,
)


def test_progress_ends_at_the_total(make):
    run, reports = make(), []
    run.report = reports.append
    run.run()
    done = [progress.done for progress in reports]
    assert done == sorted(done)
    last = run.curve[-1]
    accuracy = last["validation_accuracy"]
    expected = Progress(done=15, total=15, epoch=3, epochs=3, loss=last["loss"], validation_accuracy=accuracy)
    assert reports[-1] == expected
    assert {progress.epoch for progress in reports} == {1, 2, 3}


def test_the_ledger_books_every_second_once(make, tmp_path, monkeypatch):
    passing = Passing(monkeypatch)
    checkpoints = EveryStep(StageFolder(tmp_path))
    run = make(["ce", "kd"], checkpoints=checkpoints)
    run.account.add("setup", 7.0, 7.0)
    passing.slow(run.inputs.train, "train_batches", 1)
    passing.slow(run.teachers[0], "forward", 100)
    passing.slow(run.losses, "forward", 10_000)
    passing.slow(run.inputs.validation, "test_batches", 10)
    passing.slow(checkpoints, "save", 1000)
    run.run()
    batches = -(-len(HELD_OUT) // BATCH)
    saves = EPOCHS * (STEPS + 1)
    expected = {
        "setup": 7.0,
        "data": EPOCHS * STEPS * 1.0,
        "teacher": EPOCHS * STEPS * 100.0,
        "gradients": 10_000.0,
        "student": EPOCHS * STEPS * 10_000.0,
        "evaluation": EPOCHS * batches * 10.0,
        "checkpoint": saves * 1000.0,
    }
    assert run.account.here == run.account.alone == expected
    assert sum(run.account.here.values()) == 7 + passing.now


def test_the_ledger_of_a_resumed_run_adds_up(make, tmp_path, monkeypatch):
    passing = Passing(monkeypatch)
    checkpoints = EveryStep(StageFolder(tmp_path))
    first = make(checkpoints=checkpoints)
    passing.slow(first.inputs.train, "train_batches", 1)
    passing.slow(first.inputs.validation, "test_batches", 10)
    first.run()
    (tmp_path / "checkpoint.pt").write_bytes(checkpoints.files[1, 2])
    resumed = make()
    resumed.account.add("setup", 3.0, 3.0)
    passing.slow(resumed.inputs.train, "train_batches", 2)
    passing.slow(resumed.inputs.validation, "test_batches", 20)
    resumed.run(Checkpoints(StageFolder(tmp_path), 1e9).load())
    batches = -(-len(HELD_OUT) // BATCH)
    seconds = {name: value for name, value in resumed.account.here.items() if value}
    assert seconds == {
        "setup": 3.0,
        "data": 7 * 1.0 + 8 * 2.0,
        "evaluation": batches * 10.0 + 2 * batches * 20.0,
    }
