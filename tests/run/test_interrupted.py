"""Runs that are killed, interrupted or find damage go on, and end with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.run.commands import kill, ledger_of, results, run, start, wait_for


def far_enough(store: Path, stages: int) -> bool:
    return any(store.glob("*/*/checkpoint.pt")) and len(results(store)) >= stages


def test_killed_and_started_again_it_ends_with_the_same_numbers(finished, suite, tmp_path):
    """SIGKILL to the whole run, several times, at any point; workers must not outlive it."""
    store = tmp_path / "runs"
    for kills in range(3):
        process = start("run", suite, "--checkpoint-seconds", 0, cwd=tmp_path)
        enough = len(results(store)) + kills
        wait_for(partial(far_enough, store, enough), process)
        kill(process)
    run(suite, "--checkpoint-seconds", 0, cwd=tmp_path)
    assert results(store) == results(finished / "runs")
    assert ledger_of(store).runs == 4


def test_a_killed_worker_costs_its_stage_alone(finished, suite, tmp_path):
    store = tmp_path / "runs"
    process = start("run", suite, "--checkpoint-seconds", 0, "--cohort", 1, cwd=tmp_path)
    wait_for(lambda: list(store.glob("cell/*/checkpoint.pt")), process)
    state = next(path.with_name("state.json") for path in store.glob("cell/*/checkpoint.pt"))
    os.kill(json.loads(state.read_text())["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "killed by SIGKILL" in err
    assert "missing" in out
    assert len(results(store)) == 6
    run(suite, cwd=tmp_path)
    assert results(store) == results(finished / "runs")
    summary = ledger_of(store)
    assert summary.runs == 2
    assert summary.killed > 0


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_interrupted_from_the_keyboard(finished, suite, tmp_path, executor):
    """In the middle of a stage; its checkpoint stays."""
    store = tmp_path / "runs"
    process = start("run", suite, "--executor", executor, "--checkpoint-seconds", 0, cwd=tmp_path)
    wait_for(lambda: list(store.glob("cell/*/checkpoint.pt")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert list(store.glob("cell/*/checkpoint.pt"))
    run(suite, cwd=tmp_path)
    assert results(store) == results(finished / "runs")
    assert ledger_of(store).runs == 2


def test_a_damaged_checkpoint_costs_only_time(finished, suite, tmp_path):
    store = tmp_path / "runs"
    process = start("run", suite, "--executor", "inline", "--checkpoint-seconds", 0, cwd=tmp_path)
    wait_for(lambda: list(store.glob("cell/*/checkpoint.pt")), process)
    kill(process)
    time.sleep(0.2)
    for checkpoint in store.glob("*/*/checkpoint.pt"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    run(suite, cwd=tmp_path)
    assert results(store) == results(finished / "runs")
