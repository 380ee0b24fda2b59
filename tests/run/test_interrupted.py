"""Runs that are killed, interrupted or find damage go on, and end with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

from tests.run.typed import accounted, kill, records, run, start, wait_for


def far_enough(store: Path, stages: int) -> bool:
    return any(store.glob("*/*/checkpoint.pt")) and len(records(store)) >= stages


def test_killed_and_started_again_it_ends_with_the_same_numbers(finished, suite, tmp_path):
    """SIGKILL to the whole run, several times, at whatever point it has reached; workers must not outlive it."""
    store = tmp_path / "runs"
    for kills in range(3):
        process = start("run", suite, "--checkpoint-seconds", 0, cwd=tmp_path)
        enough = len(records(store)) + kills
        wait_for(partial(far_enough, store, enough), process)
        kill(process)
    run(suite, "--checkpoint-seconds", 0, cwd=tmp_path)
    assert records(store) == records(finished / "runs")
    account = accounted(store)
    assert account.runs == 4


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
    assert len(records(store)) == 6
    run(suite, cwd=tmp_path)
    assert records(store) == records(finished / "runs")
    account = accounted(store)
    assert account.runs == 2
    assert account.killed > 0


def test_interrupted_from_the_keyboard(suite, tmp_path):
    process = start("run", suite, cwd=tmp_path)
    wait_for(lambda: list((tmp_path / "runs").glob("teacher/*/state.json")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err


def test_a_damaged_checkpoint_costs_only_time(finished, suite, tmp_path):
    store = tmp_path / "runs"
    process = start("run", suite, "--checkpoint-seconds", 0, cwd=tmp_path)
    wait_for(lambda: list(store.glob("cell/*/checkpoint.pt")), process)
    kill(process)
    time.sleep(0.2)
    for checkpoint in store.glob("*/*/checkpoint.pt"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    run(suite, cwd=tmp_path)
    assert records(store) == records(finished / "runs")
