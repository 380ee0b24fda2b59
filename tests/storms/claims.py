"""Claims: workers of one store are killed, or stopped past their lease, at seeded moments; what they leave is whole.

Every stage must be done at the end, with the weights of an undisturbed run, and no claim may be left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.forked import ForkedProcess
from tests.running.commands import one_core
from tests.storms.kills import weights

WORKERS, LEASE = 3, 1.0
MOST_QUIET = 1.5  # seconds before an injury
ROUND = 6  # injuries of one store's workers, at most
PATIENCE = 900.0  # seconds until all must have ended
RECIPE = {"epochs": 8, "batch_size": 20, "image_size": 16, "precision": "exact"}


def storm(seed: int, count: int, suite: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Injures workers so many times; gives what happened to each store and the rule that it breaks, empty for none."""
    draw, done, number = random.Random(seed), 0, 0
    whole = folder / "whole"
    assert _start(suite, whole).wait(PATIENCE) == 0
    expected = weights(whole)
    while done < count:
        store = folder / f"shared-{number}"
        injuries, fault = _round(draw, suite, store, min(ROUND, count - done))
        if not fault and weights(store) != expected:
            fault = "other weights than those of a whole run"
        if not fault and (left := [path.name for path in (store / "claims").glob("*/[0-9]*")]):
            fault = f"claims are left: {left}"
        yield f"claims {seed}/{number}, {', '.join(injuries)}", fault
        done, number = done + max(1, len(injuries)), number + 1


def _round(draw: random.Random, suite: Path, store: Path, most: int) -> tuple[list[str], str]:
    """Runs one store to its end; gives what was done to its workers, and what is wrong with their ends."""
    workers = [_start(suite, store) for _ in range(WORKERS)]
    killed: set[int] = set()
    injuries: list[str] = []
    while len(injuries) < most and (living := [worker for worker in workers if worker.poll() is None]):
        time.sleep(draw.uniform(0.1, MOST_QUIET))
        victim, kills = draw.choice(living), draw.random() < 0.6
        try:
            victim.send_signal(signal.SIGKILL if kills else signal.SIGSTOP)
        except ProcessLookupError:  # it has ended
            continue
        injuries.append("kill" if kills else "stop")
        if kills:
            killed.add(victim.pid)
            workers.append(_start(suite, store))
        else:
            time.sleep(1.5 * LEASE)
            victim.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    try:
        codes = {worker.pid: worker.wait(max(1.0, deadline - time.monotonic())) for worker in workers}
        codes |= {0: _start(suite, store).wait(PATIENCE)}
    except subprocess.TimeoutExpired:
        return injuries, "they do not end"
    # One may end in the moment in which it is to be killed.
    wrong = {pid: code for pid, code in codes.items() if code and (code != -signal.SIGKILL or pid not in killed)}
    return injuries, f"exit codes {wrong}" if wrong else ""


def _start(suite: Path, store: Path) -> ForkedProcess:
    command = ["python", "-m", "benchbench", "work", suite, "--store", store, "--jobs", 1, "--device", "cpu"]
    command += ["--data", store.parent / "data", "--executor", "inline", "--checkpoint-seconds", "0.01"]
    environment = {**os.environ, "BENCHBENCH_LEASE_SECONDS": str(LEASE)}
    null = subprocess.DEVNULL
    return ForkedProcess(
        [*command], cwd=store.parent, cores={one_core()}, env=environment, stdin=null, stdout=null, stderr=null
    )
