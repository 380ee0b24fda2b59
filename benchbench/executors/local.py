"""Worker processes on this machine: one a slot, kept for many stages, since starting one costs seconds of imports."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.executors.base import Event, Executor
from benchbench.hardware.devices import Devices


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    stages: set[str] = field(default_factory=set)


class LocalExecutor(Executor):
    """One persistent worker process for each slot, started when it is first needed."""

    def __init__(self, devices: Devices, settings: dict[str, Any], lock: int):
        super().__init__(devices, settings, lock)
        self.workers: dict[str, _Worker] = {}
        self.events: queue.Queue[Event] = queue.Queue()

    def submit(self, slot: str, stages: list[dict[str, Any]]) -> None:
        worker = self.workers.get(slot)
        if worker is None or worker.process.poll() is not None:
            worker = self.workers[slot] = self._start(slot)
        worker.stages = {stage["key"] for stage in stages}
        self._send(worker, stages)

    def _send(self, worker: _Worker, message: Any) -> None:
        assert worker.process.stdin is not None
        # A worker that died meanwhile is reported by the thread that reads its output.
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.write(json.dumps(message) + "\n")
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
        settings = {
            "device": "cuda" if cuda else "cpu",
            "threads": self.devices.threads,
            "held": self.devices.num_devices,
            "unit": self.devices.unit,
            "device_name": self.devices.name,
            # What its energy counter covers, if it has one for itself.
            "exclusive": self.devices.exclusive,
            "board": int(slot.partition(".")[0]) if cuda else None,
        }
        self._send(worker, {**self.settings, **settings})
        threading.Thread(target=self._listen, args=(slot, worker), daemon=True).start()
        return worker

    def _log(self, slot: str) -> Path:
        return Path(self.settings["store"]) / f"worker-{slot}.log"

    def _listen(self, slot: str, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            message = json.loads(line)
            name, key = message.pop("event"), message.pop("key")
            if name in ("finished", "failed"):
                worker.stages.discard(key)
            self.events.put(Event(name, key, slot, message))
        code = worker.process.wait()
        for key in sorted(worker.stages):
            self.events.put(Event("died", key, slot, {"reason": _ending(code, self._log(slot))}))

    def wait(self, timeout: float) -> list[Event]:
        events = []
        with contextlib.suppress(queue.Empty):
            events.append(self.events.get(timeout=timeout))
            while True:
                events.append(self.events.get_nowait())
        return events

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
