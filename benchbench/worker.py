"""A process that runs stages, one after another: `python -m benchbench.worker`.

It reads JSON lines: first its settings, then one stage a line; it writes events as JSON lines. Results go to the
store. When its input ends, because the runner is done or dead, it ends at once.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from benchbench.errors import BenchBenchError, one_line
from benchbench.plugins import load_plugins
from benchbench.resolve import unwrap
from benchbench.stages import RUNNERS
from benchbench.store import StageFolder, Store, write_atomic, write_json


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the runner decides
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up among the events
    # Away from sys.stdin: a loader process, forked while the thread below waits inside its lock, would wait there too.
    stdin = os.fdopen(os.dup(0))
    sys.stdin = open(os.devnull)  # noqa: SIM115 (for the life of the process)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_input, args=(stdin, lines), daemon=True).start()
    settings = json.loads(lines.get())
    worker = Worker(settings, events)
    while True:
        worker.run(json.loads(lines.get()))


def _read_input(stdin: TextIO, lines: queue.Queue[str]) -> None:
    for line in stdin:
        lines.put(line)
    os._exit(0)


class Worker:
    """Settings, components and libraries, loaded once for many stages."""

    def __init__(self, settings: dict[str, Any], events: TextIO):
        self.settings, self.events = settings, events
        self.store = Store(Path(settings["store"]))
        self.registry = load_plugins([Path(path) for path in settings["plugins"]]).registry
        self.last_progress = 0.0

    def run(self, stage: dict[str, Any]) -> None:
        """Runs one stage; whatever goes wrong in it becomes an event."""
        folder = self.store.stage(stage["kind"], stage["key"])
        key = stage["key"]
        attempts = folder.attempts() + 1
        state = {"status": "running", "attempts": attempts, "pid": os.getpid(), "started": time.time()}
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            write_json(folder.spec, {"kind": stage["kind"], "key": key, "label": stage["label"], "job": stage["job"]})
            write_json(folder.state, state)
            self._emit("started", key)
            with folder.log.open("a", encoding="utf-8", buffering=1) as log, _Redirected(log):
                print(f"attempt {attempts} on {self.settings['device']}, {self.settings['threads']} threads")
                try:
                    record = self._run(stage, folder)
                except Exception:
                    traceback.print_exc()
                    raise
            write_atomic(folder.curve, "".join(json.dumps(row) + "\n" for row in record.pop("curve", [])).encode())
            write_json(folder.record, record)
            for leftover in (folder.checkpoint, folder.state):
                leftover.unlink(missing_ok=True)
            self._emit("finished", key)
        except Exception as error:
            reason = one_line(error)[:1000]
            if not isinstance(error, BenchBenchError):
                reason += f" (traceback in {folder.log})"
            with contextlib.suppress(OSError):  # a full disk, say: the event still tells
                write_json(folder.state, {**state, "status": "failed", "reason": reason})
            self._emit("failed", key, reason=reason)

    def _run(self, stage: dict[str, Any], folder: StageFolder) -> dict[str, Any]:
        # Imported here and not above: a stage that cannot import its library fails as a stage, with a log.
        from benchbench.environment import environment
        from benchbench.stages.context import StageContext

        settings = self.settings
        kinds = {need["role"]: self.store.stage(need["kind"], need["key"]) for need in stage["needs"]}
        context = StageContext(
            job=unwrap(stage["job"]),
            folder=folder,
            needs=kinds,
            registry=self.registry,
            device=settings["device"],
            threads=settings["threads"],
            held=settings["held"],
            unit=settings["unit"],
            data_root=Path(settings["data_root"]),
            checkpoint_seconds=settings["checkpoint_seconds"],
            report=lambda progress: self._emit("progress", stage["key"], progress=progress),
        )
        runner = importlib.import_module(RUNNERS[stage["kind"]])
        for name in stage["job"]["components"]:
            # Imported before the stage's clock starts: the first stage of a worker would pay for all that follow.
            self.registry.get(*name.split("/", 1)).load()
        record = runner.run(context)
        record |= {"key": stage["key"], "label": stage["label"]}
        record["environment"] = environment(settings["device"], settings["device_name"], settings["commit"])
        return record

    def _emit(self, event: str, key: str, **more: Any) -> None:
        self.events.write(json.dumps({"event": event, "key": key, **more}) + "\n")


class _Redirected:
    """Sends file descriptors 1 and 2, and so C libraries' output too, to a stage's log."""

    def __init__(self, log: TextIO):
        self.log = log

    def __enter__(self) -> None:
        self.saved = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(self.log.fileno(), number)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), self.saved, strict=True):
            os.dup2(saved, number)
            os.close(saved)


if __name__ == "__main__":
    main()
