"""Worker processes on this machine: one per slot, reused for many stages, since imports take seconds."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from benchbench.executors.base import (
    ASSIGNMENTS,
    EVENT,
    PASSIVE,
    WORKER_SETTINGS,
    Assignment,
    Event,
    Executor,
    RunSettings,
    worker_settings,
)
from benchbench.executors.fork_server import ForkServer
from benchbench.executors.worker import ENDINGS, STOPPED
from benchbench.hardware.devices import Devices


class WorkerProcess(Protocol):
    """A process that reads settings and assignments and writes events."""

    stdin: IO[str]
    stdout: IO[str]

    def exit_code(self) -> int | None:
        """Waits for its end; the code, minus the signal of one that was killed, None where it is unknown."""
        ...

    def terminate(self) -> None:
        """Asks it to save and end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        ...


class SpawnedWorker:
    """A worker in a fresh Python.

    Args:
        log: file for its standard error.
        environment: of the process.
    """

    def __init__(self, log: Path, environment: dict[str, str]):
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchbench.executors.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=environment,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def exit_code(self) -> int | None:
        return self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.process.kill()


@dataclass
class _Worker:
    """A worker of a slot, with the keys of the stages that it has not ended.

    Attributes:
        end_reason: why it is ended from outside; empty where it is not.
        listener: reads its events.
    """

    process: WorkerProcess
    open_keys: set[str] = field(default_factory=set)
    ended: bool = False
    end_reason: str = ""
    listener: threading.Thread | None = None


def worker_environment(threads: int) -> dict[str, str]:
    """Variables of a worker's process: what the user has set counts."""
    return dict([PASSIVE]) | dict(os.environ) | {"OMP_NUM_THREADS": str(threads)}


class LocalExecutor(Executor):
    """One persistent worker process per slot, started when it is first needed; several on a CPU by a fork server."""

    def __init__(self, devices: Devices, settings: RunSettings):
        super().__init__(devices, settings)
        self._workers: dict[str, _Worker] = {}
        self._events: queue.Queue[Event] = queue.Queue()
        self._change = threading.Lock()
        self._forks = devices.kind == "cpu" and len(devices.slots) > 1 and sys.platform == "linux"
        self._server: ForkServer | None = None
        self._spawned: list[SpawnedWorker] = []

    def submit(self, slot: str, stages: list[Assignment]) -> None:
        worker = self._workers.get(slot)
        keys = {stage.key for stage in stages}
        with self._change:
            reusable = worker is not None and not worker.ended
            if worker is not None and reusable:
                worker.open_keys = keys
        if worker is None or not reusable:
            worker = self._workers[slot] = self._start(slot, keys)
        _send(worker, ASSIGNMENTS.dump_json(stages, by_alias=True))

    def _start(self, slot: str, keys: set[str]) -> _Worker:
        worker = _Worker(self._process(slot), keys)
        _send(worker, WORKER_SETTINGS.dump_json(worker_settings(self.settings, self.devices, slot)))
        worker.listener = threading.Thread(target=self._listen, args=(slot, worker), daemon=True)
        worker.listener.start()
        return worker

    def _process(self, slot: str) -> WorkerProcess:
        environment = worker_environment(self.devices.threads)
        if self._forks:
            try:
                if self._server is None:
                    self._server = ForkServer(self.settings.log("fork-server"), environment)
                return self._server.start(self._log(slot))
            except OSError:  # it has ended, killed for want of memory, say
                self._forks = False
        if self.devices.kind == "cuda":  # nvidia-smi counts GPUs by bus; without this, CUDA counts the fastest first
            environment |= {"CUDA_VISIBLE_DEVICES": slot.partition(".")[0], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        self._spawned.append(SpawnedWorker(self._log(slot), environment))
        return self._spawned[-1]

    def _log(self, slot: str) -> Path:
        """Output of a worker outside of any stage, such as the reason why it cannot start."""
        return self.settings.log(f"worker-{slot}")

    def _listen(self, slot: str, worker: _Worker) -> None:
        for line in worker.process.stdout:
            event = EVENT.validate_json(line)
            if event.name in ("finished", "failed", "lost", "broken", "misplaced"):
                with self._change:
                    worker.open_keys.discard(event.key)
                    worker.ended |= event.name == "broken" or event.leaves  # it takes no more stages
            self._events.put(event)
        reason = _ending(worker.process.exit_code(), self._log(slot))
        with self._change:
            worker.ended = True
            reason = worker.end_reason or reason
            keys = sorted(worker.open_keys)
        for key in keys:
            self._events.put(Event("died", key, slot, reason))

    def wait(self, timeout: float, handle: Callable[[Event], None]) -> None:
        events = []
        with contextlib.suppress(queue.Empty):
            events.append(self._events.get(timeout=timeout))
            while True:
                events.append(self._events.get_nowait())
        for event in events:
            handle(event)

    def end(self, slot: str, reason: str) -> None:
        worker = self._workers[slot]
        with self._change:
            worker.end_reason = reason
            worker.ended = True  # what it has said before may free its slot: the next stage is another worker's
        worker.process.kill()

    def save_and_end(self, seconds: float) -> None:
        with self._change:
            busy = [worker for worker in self._workers.values() if worker.open_keys and not worker.ended]
        for worker in busy:
            worker.process.terminate()
        deadline = time.monotonic() + seconds
        for worker in busy:
            if worker.listener is not None:
                worker.listener.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        for worker in self._workers.values():
            worker.open_keys = set()
            with contextlib.suppress(OSError):  # for workers of a server that has been killed
                worker.process.stdin.close()
        for spawned in self._spawned:
            spawned.process.kill()
        if self._server is not None:
            self._server.close()
        for spawned in self._spawned:
            spawned.process.wait()


def _send(worker: _Worker, message: bytes) -> None:
    # A worker that died meanwhile is reported by the thread that reads its output.
    with contextlib.suppress(BrokenPipeError):
        worker.process.stdin.write(message.decode() + "\n")
        worker.process.stdin.flush()


def _ending(code: int | None, log: Path) -> str:
    if code is None:
        return f"its worker process ended (see {log})"
    if -code in ENDINGS or code == STOPPED:
        return "its worker process was asked to end by a signal"
    if code >= 0:
        return f"its worker process ended with exit code {code} (see {log})"
    names = {int(each): each.name for each in signal.Signals}
    name = names.get(-code, f"signal {-code}")
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"its worker process was killed by {name}{hint}"
