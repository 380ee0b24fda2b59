"""`benchbench run` as a user types it: a suite, the command, and what a run leaves, for the tests of this folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchbench.costs.ledger import Spent, spent
from benchbench.store import Store

SUITE = """
name: tiny
seeds: [0, 1]
data:
  few: {{source: cifar10_subset, per_class: 6}}
students:
  small: {{model: timm/test_efficientnet, weights: {{file: {weights}}}}}
teachers:
  big:
    model: timm/test_resnet
    weights: {{file: {teacher}}}
    adapt: [pretrained, linear_probe]
recipes:
  default: {{epochs: {epochs}, batch_size: 16, image_size: 32, precision: exact,
    augment: {{flip: {{}}, random_crop: {{padding: 4}}}}}}
arms:
  scratch: {{method: scratch}}
  tuned: {{method: finetune}}
  taught: {{method: distill, adapt: linear_probe, loss: {{ce: 1, align_uniform: 1, kd: 1}}}}
"""


def write_suite(path: Path, weights: dict[str, Path], epochs: int = 2, text: str = SUITE) -> Path:
    path.write_text(text.format(epochs=epochs, **weights))
    return path


def command(*arguments: object) -> list[str]:
    """One worker where a test does not ask for more: each takes seconds to start."""
    if arguments[0] == "run" and "--jobs" not in arguments:
        arguments = (*arguments, "--jobs", 1)
    return [sys.executable, "-m", "benchbench", *(str(argument) for argument in arguments)]


def one_core() -> None:
    """A core for each worker of pytest, whatever the machine has: side by side, runs of more threads than there are
    cores wait for one another, and who trains beside whom depends on the number of cores."""
    cores = sorted(os.sched_getaffinity(0))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {cores[number % len(cores)]})


def start(*arguments: object, cwd: Path, pinned: bool = True) -> subprocess.Popen[str]:
    """Begins a command, on one core or on all."""
    out, pin = subprocess.PIPE, one_core if pinned else None
    return subprocess.Popen(command(*arguments), cwd=cwd, stdout=out, stderr=out, text=True, preexec_fn=pin)


def finish(*arguments: object, cwd: Path, pinned: bool = True) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, cwd=cwd, pinned=pinned)
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run(
    *arguments: object, cwd: Path, code: int = 0, pinned: bool = True, pictures: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a suite; without pictures, which take seconds, where a test does not look at them."""
    formats = () if pictures else ("--format", "csv")
    done = finish("run", *arguments, *formats, cwd=cwd, pinned=pinned)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def records(store: Path) -> dict[str, dict]:
    """Every finished training stage by label, without what may differ between two runs: cost and environment."""
    found = {}
    for path in [*store.glob("cell/*/record.json"), *store.glob("teacher/*/record.json")]:
        record = json.loads(path.read_text())
        kept = {name: record[name] for name in ("key", "metrics", "data", "model", "teachers", "weights_sha256")}
        found[record["label"]] = {**kept, "curve": path.with_name("curve.jsonl").read_text()}
    return found


def accounted(store: Path, slack: float = 0.1) -> Spent:
    """The account of all runs of the suite, after a look at whether its lines add up to what was measured.

    Within 1 %, and `slack` seconds for each finished stage: runs of seconds that save at every step and are killed
    spend more than that between two lines.
    """
    text = "".join(path.read_text() for path in (store / "ledger").iterdir())
    found = spent(Store(store), "tiny", {json.loads(line).get("key") for line in text.splitlines()})
    held = found.total / sum(json.loads(line)["at"] for line in _last_lines(store))
    assert abs(found.residual) <= 0.01 * found.total + slack * held * text.count('"finished"')
    return found


def _last_lines(store: Path) -> list[str]:
    return [path.read_text().splitlines()[-1] for path in (store / "ledger").iterdir()]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)
