"""Runs that are killed or interrupted go on, and end with the same numbers.

Runs of one seed, compared with the cells of that seed in the finished one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running.commands import (
    Process,
    kill,
    ledger_of,
    results,
    run,
    start,
    start_forked,
    start_inline,
    start_with_two_jobs,
    wait_for,
    write_suite,
)

pytestmark = pytest.mark.whole_run

ONE_SEED = "--set", "seeds=[0]"
OFTEN = "--checkpoint-seconds", 1e-6


@pytest.fixture
def expected(finished) -> dict:
    """Results of the uninterrupted run."""
    return results(finished / "runs", seed=0)


def has_checkpoint(store: Path, kind: str) -> Callable[[], bool]:
    return lambda: any(store.glob(f"{kind}/*/checkpoint.pt"))


def kill_at(process: Process, condition: Callable[[], bool]) -> None:
    wait_for(condition, process)
    kill(process)


@pytest.fixture(scope="module")
def killed(files, tmp_path_factory) -> Path:
    """A store whose run was killed in a teacher, by way of a worker, and then in a cell: SIGKILL to the whole run."""
    folder = tmp_path_factory.mktemp("killed")
    suite, store = write_suite(folder / "tiny.yaml", files), folder / "runs"
    kill_at(start_forked("run", suite, *ONE_SEED, *OFTEN, cwd=folder), has_checkpoint(store, "teacher"))
    kill_at(start_inline(suite, *ONE_SEED, *OFTEN, cwd=folder), has_checkpoint(store, "cell"))
    return store


def test_killed_and_started_again_it_ends_with_the_same_numbers(expected, killed, suite, tmp_path):
    """In stages of several kinds; workers must not outlive it."""
    store = shutil.copytree(killed, tmp_path / "runs")
    done = len(results(store))
    kill_at(
        start_inline(suite, *ONE_SEED, *OFTEN, cwd=tmp_path),
        lambda: len(results(store)) > done and has_checkpoint(store, "cell")(),
    )
    run(suite, *ONE_SEED, *OFTEN, cwd=tmp_path)
    assert results(store) == expected
    assert ledger_of(store).runs == 4


def test_a_killed_worker_costs_its_stage_alone(expected, suite, tmp_path):
    store = tmp_path / "runs"
    process = start_with_two_jobs(suite, *ONE_SEED, *OFTEN, "--cohort", 1, "--format", "csv", cwd=tmp_path)
    wait_for(has_checkpoint(store, "cell"), process)
    state = next(path.with_name("state.json") for path in store.glob("cell/*/checkpoint.pt"))
    os.kill(json.loads(state.read_text())["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "killed by SIGKILL" in err
    assert "killed by SIGKILL" in out  # beside the answer from the cells that are there
    assert len(results(store)) == len(expected) - 1
    run(suite, *ONE_SEED, cwd=tmp_path)
    assert results(store) == expected
    summary = ledger_of(store)
    assert summary.runs == 2
    assert summary.killed > 0


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_interrupted_from_the_keyboard(expected, suite, tmp_path, executor):
    """Ctrl-C in the middle of a cell, whose checkpoint stays."""
    store = tmp_path / "runs"
    arguments = *ONE_SEED, *OFTEN
    if executor == "local":
        process: Process = start("run", suite, *arguments, cwd=tmp_path)
    else:
        process = start_inline(suite, *arguments, cwd=tmp_path)
    wait_for(has_checkpoint(store, "cell"), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert has_checkpoint(store, "cell")()
    run(suite, *ONE_SEED, cwd=tmp_path)
    assert results(store) == expected
    assert ledger_of(store).runs == 2


@pytest.mark.parametrize("start_it", [start_inline, start_with_two_jobs], ids=["inline", "forked"])
def test_sigterm_saves_a_checkpoint_and_says_how_to_go_on(suite, tmp_path, start_it):
    """No checkpoint is due by itself."""
    store = tmp_path / "runs"
    changes = "--set", "recipes.default.epochs=400", "--set", "arms={scratch: {method: scratch}}", "--cohort", 1
    process = start_it(suite, *changes, "--checkpoint-seconds", "1h", cwd=tmp_path)
    wait_for(lambda: any(store.glob("cell/*/progress.json")), process)
    assert not has_checkpoint(store, "cell")()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "ended by SIGTERM; run the same command again to go on from the last checkpoints" in err
    assert "Traceback" not in err
    assert has_checkpoint(store, "cell")()
