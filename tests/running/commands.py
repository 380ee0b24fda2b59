"""`benchbench run` for tests: a suite, the command in this process or its own, and its results."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from benchbench.cli.main import main
from benchbench.costs.ledger_lines import FinishedLine, ledger_files, read_lines
from benchbench.costs.ledger_summary import LedgerSummary, summarize_ledger
from benchbench.specs.records import StageRecord
from benchbench.store import Store
from tests import networks
from tests.forked import ForkedProcess, forked_workers

SUITE = """
name: tiny
seeds: [0, 1]
data:
  few: {{source: {{imagefolder: {{path: {images}}}}}}}
students:
  small: {{model: timm/test_efficientnet, weights: {{file: {weights}}}}}
teachers:
  big:
    model: timm/test_resnet
    weights: {{file: {teacher}}}
    adapt: [pretrained, linear_probe]
recipes:
  default: {{epochs: {epochs}, batch_size: 16, image_size: 16, precision: exact,
    augment: {{flip: {{}}, random_crop: {{padding: 2}}}}}}
arms:
  scratch: {{method: scratch}}
  tuned: {{method: finetune}}
  taught: {{method: distill, adapt: linear_probe, loss: {{ce: 1, align_uniform: 1, kd: 1}}}}
"""


def write_suite(path: Path, files: dict[str, Path], epochs: int = 2, text: str = SUITE) -> Path:
    path.write_text(text.format(epochs=epochs, **files))
    return path


@dataclass(frozen=True)
class Completed:
    """An ended command."""

    code: int
    out: str
    err: str


def run(
    *arguments: object,
    cwd: Path,
    code: int = 0,
    figures: bool = False,
    workers: bool = False,
    spawned: bool = False,
    pinned: bool = True,
) -> Completed:
    """Runs a suite from this process.

    Args:
        arguments: of `benchbench run`.
        cwd: where the command runs.
        code: its expected exit code.
        figures: also draws figures, which takes seconds.
        workers: with worker processes rather than without any.
        spawned: those start as they do for users, which takes seconds, and are not forked by the tests' server.
        pinned: on one core; see `one_core`.
    """
    formats = () if figures else ("--format", "csv")
    executor = "local" if workers else "inline"
    with contextlib.nullcontext() if spawned else forked_workers():
        done = in_this_process("run", *arguments, *formats, "--executor", executor, cwd=cwd, pinned=pinned)
    assert done.code == code, done.out + done.err
    assert "Traceback" not in done.out + done.err
    return done


def in_this_process(*arguments: object, cwd: Path, pinned: bool = True) -> Completed:
    """Runs a command without a process: its imports are here already."""
    out, err = io.StringIO(), io.StringIO()
    here = mock.patch("benchbench.costs.flops.subprocess", SimpleNamespace(run=networks.in_this_process))
    pin = on_one_core() if pinned else contextlib.nullcontext()
    with here, pin, contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(_with_one_job(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return Completed(code, out.getvalue(), err.getvalue())


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Begins a command on one core as a user does; Ctrl-C reaches it even where these tests ignore it."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs with SIGINT ignored
        os.sched_setaffinity(0, {one_core()})

    command = [sys.executable, "-m", "benchbench", *_with_one_job(arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True, preexec_fn=prepare)


def start_inline(suite: Path, *arguments: object, cwd: Path) -> ForkedProcess:
    """Begins a run without workers, on one core, in a process that has its imports."""
    return start_forked("run", suite, "--executor", "inline", "--format", "csv", *arguments, cwd=cwd)


def start_forked(*arguments: object, cwd: Path, cores: set[int] | None = None) -> ForkedProcess:
    """Begins a command in a process that has its imports, as its workers have; by default on one core."""
    command, pipe = [sys.executable, "-m", "benchbench", *_with_one_job(arguments)], subprocess.PIPE
    return ForkedProcess(command, cwd=cwd, cores=cores or {one_core()}, stdout=pipe, stderr=pipe)


def start_with_two_jobs(suite: Path, *arguments: object, cwd: Path) -> ForkedProcess:
    """Begins a run with two forked workers of one thread each, in a process that has its imports."""
    two_cores = set(sorted(os.sched_getaffinity(0))[:2])
    return start_forked("run", suite, "--format", "csv", *arguments, "--jobs", 2, cwd=cwd, cores=two_cores)


def _with_one_job(arguments: tuple[object, ...]) -> list[str]:
    """Adds `--jobs 1` to a run without `--jobs`: each worker takes seconds to start."""
    if arguments[0] == "run" and "--jobs" not in arguments:
        arguments = (*arguments, "--jobs", 1)
    return [str(argument) for argument in arguments]


def one_core() -> int:
    """The core of this worker of pytest: runs of more threads than there are cores would wait for one another, and the
    cells that train side by side depend on the number of cores."""
    cores = sorted(os.sched_getaffinity(0))
    index = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return cores[index % len(cores)]


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Keeps this process, and those that it starts, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {one_core()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


Process = subprocess.Popen[str] | ForkedProcess


def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_for(condition, process: Process, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def stage_records(store: Path, *kinds: str) -> list[StageRecord]:
    """Records of all finished stages of some kinds, in the order of their keys."""
    records = [folder.done() for kind in kinds for folder in Store(store).finished(kind)]
    return [record for record in records if record is not None]


def results(store: Path, seed: int | None = None) -> dict[str, dict[str, Any]]:
    """Parts of every finished training by label that are equal in two runs: all but cost and environment.

    Args:
        store: of the run.
        seed: leaves out cells of other seeds.
    """
    parts = {"key", "metrics", "data", "model", "teachers", "weights_sha256"}
    by_label = {}
    for kind in ("cell", "teacher"):
        for folder in Store(store).finished(kind):
            record = folder.done()
            if kind == "cell" and seed is not None and not record.label.endswith(f"seed {seed}"):
                continue
            by_label[record.label] = {**record.model_dump(include=parts), "curve": folder.read_curve()}
    return by_label


def ledger_of(store: Path, slack: float = 0.1) -> LedgerSummary:
    """The ledger of all runs of the suite, after a check that its lines add up to the measured time.

    Within 5 %, of which a busy machine takes half, and `slack` seconds for each finished stage: runs of seconds that
    save at every step and are killed spend more than that between two lines.
    """
    runs = [read_lines(path) for path in ledger_files(Store(store))]
    finished = [line for lines in runs for line in lines if isinstance(line, FinishedLine)]
    summary = summarize_ledger(Store(store), "tiny", {line.key for line in finished})
    num_devices = summary.total / sum(lines[-1].at for lines in runs)
    assert abs(summary.residual) <= 0.05 * summary.total + slack * num_devices * len(finished)
    return summary


def require_same_after_a_kill(suite: str, finished: Path, folder: Path) -> None:
    """Runs a suite in another folder, killed once it has a checkpoint of a cell, and compares all results.

    Args:
        suite: name of its file.
        finished: the folder of a whole run, with `images/` and a table `classes.csv` beside the suite.
        folder: an empty one.
    """
    shutil.copytree(finished / "images", folder / "images")
    for name in (suite, "classes.csv"):
        shutil.copy(finished / name, folder)
    process = start_inline(Path(suite), "--checkpoint-seconds", 1e-6, cwd=folder)
    wait_for(lambda: any((folder / "runs").glob("cell/*/checkpoint.pt")), process)
    kill(process)
    run(suite, cwd=folder)
    assert results(folder / "runs") == results(finished / "runs")
