"""Kills: a run is killed at seeded moments and started again until it is done; its weights are those of a whole run.

By hand alone: `tests/running/test_interrupted.py` kills runs at chosen moments in every test session.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_KILLS = 12  # of one run; then it is left to end


def storm(seed: int, count: int, suite: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Kills so many runs of a suite; gives the name of each and the rule that it breaks, empty for none."""
    draw = random.Random(seed)
    whole = folder / "whole"
    _run(suite, whole, None)
    expected = weights(whole)
    for number in range(count):
        store, kills = folder / f"killed-{number}", 0
        while kills < MOST_KILLS and _run(suite, store, draw.uniform(1, 25)) is None:
            kills += 1
        ended = _run(suite, store, None)
        fault = "" if ended == 0 else f"exit code {ended}"
        if not fault and weights(store) != expected:
            fault = "other weights than those of a whole run"
        yield f"kill {seed}/{number}, killed {kills} times", fault


def _run(suite: Path, store: Path, seconds: float | None) -> int | None:
    """Runs a suite, for so long at most; None where it was killed."""
    command = [sys.executable, "-m", "benchbench", "run", suite, "--store", store, "--jobs", "1", "--device", "cpu"]
    command += ["--data", store.parent / "data", "--report", store.parent / "report", "--format", "csv"]
    options = ["--executor", "inline", "--checkpoint-seconds", "0.1"]
    with subprocess.Popen(
        [*map(str, command), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return None


def weights(store: Path) -> dict[str, str]:
    """sha256 of the weights of every finished stage."""
    records = {path.parent.name: json.loads(path.read_text()) for path in sorted(store.glob("*/*/record.json"))}
    return {key: record["weights_sha256"] for key, record in records.items() if record["weights_sha256"]}
