"""Worker processes on this machine: one a slot, kept for many stages, since starting one costs seconds of imports."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.executors.base import (
    ASSIGNMENTS,
    EVENT,
    WORKER_SETTINGS,
    Assignment,
    Event,
    Executor,
    RunSettings,
    worker_settings,
)
from benchbench.hardware.devices import Devices


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    stages: set[str] = field(default_factory=set)


class LocalExecutor(Executor):
    """One persistent worker process for each slot, started when it is first needed."""

    def __init__(self, devices: Devices, settings: RunSettings, lock: int):
        super().__init__(devices, settings, lock)
        self.workers: dict[str, _Worker] = {}
        self.events: queue.Queue[Event] = queue.Queue()

    def submit(self, slot: str, stages: list[Assignment]) -> None:
        worker = self.workers.get(slot)
        if worker is None or worker.process.poll() is not None:
            worker = self.workers[slot] = self._start(slot)
        worker.stages = {stage.key for stage in stages}
        self._send(worker, ASSIGNMENTS.dump_json(stages, by_alias=True))

    def _send(self, worker: _Worker, message: bytes) -> None:
        assert worker.process.stdin is not None
        # A worker that died meanwhile is reported by the thread that reads its output.
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.write(message.decode() + "\n")
            worker.process.stdin.flush()

    def _start(self, slot: str) -> _Worker:
        cuda = self.devices.kind == "cuda"
        env = {**os.environ, "OMP_NUM_THREADS": str(self.devices.threads)}
        if cuda:  # nvidia-smi counts GPUs by bus; without this, CUDA counts the fastest first
            env |= {"CUDA_VISIBLE_DEVICES": slot.partition(".")[0], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        with self._log(slot).open("w") as log:  # what is said outside of any stage: a worker that cannot start, say
            process = subprocess.Popen(
                [sys.executable, "-m", "benchbench.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=env,
                pass_fds=[self.lock],
            )
        worker = _Worker(process)
        self._send(worker, WORKER_SETTINGS.dump_json(worker_settings(self.settings, self.devices, slot)))
        threading.Thread(target=self._listen, args=(slot, worker), daemon=True).start()
        return worker

    def _log(self, slot: str) -> Path:
        return self.settings.store / f"worker-{slot}.log"

    def _listen(self, slot: str, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            event = EVENT.validate_json(line)
            if event.name in ("finished", "failed"):
                worker.stages.discard(event.key)
            self.events.put(event)
        code = worker.process.wait()
        for key in sorted(worker.stages):
            self.events.put(Event("died", key, slot, _ending(code, self._log(slot))))

    def wait(self, timeout: float, handle: Callable[[Event], None]) -> None:
        with contextlib.suppress(queue.Empty):
            handle(self.events.get(timeout=timeout))
            while True:
                handle(self.events.get_nowait())

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stages = set()
            worker.process.kill()
        for worker in self.workers.values():
            worker.process.wait()


def _ending(code: int, log: Path) -> str:
    if code >= 0:
        return f"its worker process ended with exit code {code} (see {log})"
    known = {int(each): each.name for each in signal.Signals}
    name = known.get(-code, f"signal {-code}")
    why = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"its worker process was killed by {name}{why}"
