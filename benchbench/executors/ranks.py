"""Further processes of a stage that trains one network on several devices: one for each slot beside the worker's own.

The worker is process 0: it alone writes to the store, decides and reports. It starts the others, watches them, and ends
them; they end with it, whatever ends it. One that fails ends the stage, with its reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from benchbench.errors import StageError
from benchbench.executors.base import Assignment, WorkerSettings
from benchbench.specs.stages import TrainingSpec

if TYPE_CHECKING:
    from benchbench.training.distributed import World

# A process that waits for one that has ended may never come back, on a GPU: it is ended after this.
STUCK_SECONDS = 30.0
# Between the end of the work and that of the other processes.
LEAVE_SECONDS = 60.0
# For the reason of a process that has ended, once another has noticed.
REASON_SECONDS = 10.0
FAILED = 4  # exit code
HERE = "here"  # the first line that a process writes


@dataclass(frozen=True)
class RankSettings:
    """Settings of one process of several.

    Attributes:
        worker: of the worker that it belongs to.
        stage: the one that all train.
        meeting: file at which they find each other.
        rank: its number.
    """

    worker: WorkerSettings
    stage: Assignment
    meeting: Path
    rank: int


RANK_SETTINGS = TypeAdapter(RankSettings)


class Ranks:
    """The further processes of one stage.

    Args:
        settings: of the worker.
        stage: with the slots that it holds beside the worker's.
        give_up: called with a reason where this process cannot come back from waiting for one that has ended.

    Attributes:
        meeting: file at which they find each other.
        size: number of processes, the worker included.
    """

    def __init__(self, settings: WorkerSettings, stage: Assignment, give_up: Callable[[str], None]):
        self.settings, self.stage, self.size = settings, stage, 1 + len(stage.slots)
        self.meeting = Path(tempfile.mkdtemp(prefix="benchbench-")) / "meeting"
        self._give_up, self._reasons, self._leaving = give_up, dict[int, str](), threading.Event()
        self._change, self._here = threading.Lock(), threading.Semaphore(0)
        self._processes = [self._start(rank) for rank in range(1, self.size)]
        self._watchers = [
            threading.Thread(target=self._watch, args=(rank, process), daemon=True)
            for rank, process in enumerate(self._processes, 1)
        ]
        for watcher in self._watchers:
            watcher.start()

    def _start(self, rank: int) -> subprocess.Popen[str]:
        """Starts a process, whose errors go to the stage's log as this one's do, and which says why it fails."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchbench.executors.rank", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **rank_environment(self.settings, self.stage, rank)},
        )
        assert process.stdin is not None
        own = RankSettings(self.settings, self.stage, self.meeting, rank)
        with contextlib.suppress(BrokenPipeError):  # it has died, which its watcher reports
            process.stdin.write(RANK_SETTINGS.dump_json(own, by_alias=True).decode() + "\n")
            process.stdin.flush()
        return process

    def _watch(self, rank: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        if process.stdout.readline().strip() == HERE:
            self._here.release()
        said = process.stdout.read().strip()
        code = process.wait()
        if code == 0 or self._leaving.is_set():
            return
        with self._change:
            first = not self._reasons
            self._reasons[rank] = said or _ending(code)
        if not first:
            return
        for other in self._processes:
            other.kill()
            self._here.release()  # nobody is waited for any more
        if not self._leaving.wait(STUCK_SECONDS):
            self._give_up(self.reason or "")

    def meet(self) -> World:
        """Joins this process to the others, once all of them have imported their libraries.

        Raises:
            StageError: one has failed.
        """
        import torch

        from benchbench.training.distributed import Meeting, World

        for _ in self._processes:
            self._here.acquire()
        if self.reason is not None:
            raise StageError(self.reason)
        return World(Meeting(self.meeting, 0, self.size), torch.device(self.settings.device))

    @property
    def reason(self) -> str | None:
        """The reason of the first process that failed; None while none has."""
        with self._change:
            rank = next(iter(self._reasons), None)
            return None if rank is None else f"process {rank + 1} of {self.size}: {self._reasons[rank]}"

    def explained(self, error: Exception) -> Exception:
        """The error of this process, or the reason of another's end that has caused it."""
        deadline = time.monotonic() + REASON_SECONDS
        while self.reason is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return error if self.reason is None else StageError(self.reason)

    def close(self, failed: bool) -> None:
        """Ends the processes: at once where the stage has failed, else once they have left their work."""
        deadline = time.monotonic() + (0.0 if failed else LEAVE_SECONDS)
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self._leaving.set()
        for process in self._processes:
            process.kill()
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait()
        shutil.rmtree(self.meeting.parent, ignore_errors=True)


def rank_environment(settings: WorkerSettings, stage: Assignment, rank: int) -> dict[str, str]:
    """Changes of the environment for a process beside the worker: the names that torchrun gives, and its own GPU."""
    slot = (settings.slot, *stage.slots)[rank]
    changes = torchrun_names(stage, rank) | {"OMP_NUM_THREADS": str(settings.threads)}
    if settings.board is not None:
        changes |= {"CUDA_VISIBLE_DEVICES": slot.partition(".")[0], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return changes


def torchrun_names(stage: Assignment, rank: int) -> dict[str, str]:
    size = 1 + len(stage.slots)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    return {name: str(value) for name, value in names.items()}


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def boards_of(settings: WorkerSettings, stage: Assignment) -> list[int]:
    """The GPUs that a stage holds, as nvidia-smi counts them; none on a CPU."""
    if settings.board is None:
        return []
    return [settings.board, *(int(slot.partition(".")[0]) for slot in stage.slots)]


@contextlib.contextmanager
def joined(settings: WorkerSettings, stage: Assignment, give_up: Callable[[str], None]) -> Iterator[World | None]:
    """The processes of a stage's training while it lasts, joined to this one; None for a stage on one device.

    Args:
        settings: of this worker.
        stage: the one.
        give_up: see `Ranks`.

    Raises:
        StageError: another process has failed.
    """
    if not stage.slots or not isinstance(stage.spec, TrainingSpec):
        yield None
        return
    from benchbench.training.distributed import LostProcessError

    ranks, world, failed = Ranks(settings, stage, give_up), None, True
    try:
        world = ranks.meet()
        with _environment(torchrun_names(stage, 0)):
            yield world
        failed = False
    except LostProcessError as error:
        raise ranks.explained(error) from error
    finally:
        # On a GPU, messages to a process that is gone may be under way for good: there the worker ends instead.
        if world is not None and not (failed and settings.board is not None):
            world.leave()
        ranks.close(failed)


def _ending(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    names = {int(each): each.name for each in signal.Signals}
    hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
    return f"it was killed by {names.get(-code, f'signal {-code}')}{hint}"
