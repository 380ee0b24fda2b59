"""A process that runs stages, one after another: `python -m benchbench.executors.worker`.

It reads JSON lines: first its settings, then a list of stages a line, which it runs side by side; it writes events as
JSON lines. Results go to the store. When its input ends, because the runner is done or dead, it ends at once.
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
from typing import TYPE_CHECKING, Any, TextIO

from benchbench.errors import BenchBenchError, one_line
from benchbench.hardware.energy import EnergyCounter, StageMeter, open_counter
from benchbench.hardware.memory import PeakMemory
from benchbench.plan.keys import unwrap
from benchbench.plugins import load_plugins
from benchbench.stages import RUNNERS
from benchbench.store import StageFolder, Store, write_atomic, write_json

if TYPE_CHECKING:
    from benchbench.stages.context import StageContext


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
    """Settings, components and libraries, loaded once for many stages.

    It notes when it was `ready` for the stages at hand, and since when it is `recording` what they gave.
    """

    def __init__(self, settings: dict[str, Any], events: TextIO):
        self.settings, self.events = settings, events
        self.store = Store(Path(settings["store"]))
        self.registry = load_plugins([Path(path) for path in settings["plugins"]]).registry
        self.counter: EnergyCounter | None = None
        self.ready = self.recording = time.monotonic()

    def run(self, stages: list[dict[str, Any]]) -> None:
        """Runs stages, side by side where there are several; whatever goes wrong in one becomes an event."""
        begun = [stage for stage in stages if self._begin(stage)]
        if not begun:
            return
        crowded = self._attempt(begun)
        for stage in crowded:  # what did not fit into memory beside others may fit alone
            self._attempt([stage], crowd=False)

    def _begin(self, stage: dict[str, Any]) -> bool:
        folder, key = self._folder(stage), stage["key"]
        state = {"status": "running", "attempts": folder.attempts() + 1, "pid": os.getpid(), "started": time.time()}
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            write_json(folder.spec, {"kind": stage["kind"], "key": key, "label": stage["label"], "job": stage["job"]})
            write_json(folder.state, state)
        except Exception as error:
            self._fail(stage, error)
            return False
        self._emit("started", key)
        return True

    def _attempt(self, stages: list[dict[str, Any]], crowd: bool = True) -> list[dict[str, Any]]:
        """Runs stages in one go; gives back those that ran out of memory beside others."""
        leader = self._folder(stages[0])
        for stage in stages[1:]:
            with self._folder(stage).log.open("a", encoding="utf-8") as log:
                log.write(f"side by side with {len(stages) - 1} more: see {leader.log}\n")
        with leader.log.open("a", encoding="utf-8", buffering=1) as log, _Redirected(log):
            print(f"attempt {leader.attempts()} on {self.settings['device']}, {self.settings['threads']} threads")
            try:
                results = self._run(stages)
            except Exception as error:
                results = [error] * len(stages)
        crowded = []
        self.recording = time.monotonic()
        for stage, result in zip(stages, results, strict=True):
            if isinstance(result, Exception) and crowd and len(stages) > 1 and _out_of_memory(result):
                crowded.append(stage)
                continue
            try:
                if isinstance(result, Exception):
                    raise result
                self._finish(stage, result)
            except Exception as error:
                self._fail(stage, error)
        return crowded

    def _run(self, stages: list[dict[str, Any]]) -> list[dict[str, Any] | Exception]:
        # Imported here and not above: a stage that cannot import its library fails as a stage, with a log.
        import torch

        from benchbench.hardware.environment import environment

        runner = importlib.import_module(RUNNERS[stages[0]["kind"]])
        for name in {name for stage in stages for name in stage["job"]["components"]}:
            # Imported before the stage's clock starts: the first stage of a worker would pay for all that follow.
            self.registry.get(*name.split("/", 1)).load()
        counter, peak = self._counter(), PeakMemory(self.settings["device"])
        contexts = [self._context(stage, StageMeter(counter, 1 / len(stages))) for stage in stages]
        where = environment(self.settings["device"], self.settings["device_name"], self.settings["commit"])
        self.ready = time.monotonic()
        self._emit("ready", stages[0]["key"])
        results = runner.run_group(contexts) if len(contexts) > 1 else [runner.run(contexts[0])]
        where["threads"] = torch.get_num_threads()  # as it was for the work
        most = peak.bytes()
        for context, result in zip(contexts, results, strict=True):
            if not isinstance(result, Exception):
                result["cost"] |= {"energy_joules": context.meter.joules(), "peak_bytes": most}
        return [
            result
            if isinstance(result, Exception)
            else {**result, "key": stage["key"], "label": stage["label"], "environment": where}
            for stage, result in zip(stages, results, strict=True)
        ]

    def _counter(self) -> EnergyCounter | None:
        """The energy counter of what this worker has for itself."""
        if self.counter is None and self.settings.get("exclusive"):
            board = self.settings["board"]
            self.counter = open_counter("cpu" if board is None else "cuda", [] if board is None else [board])
        return self.counter

    def _context(self, stage: dict[str, Any], meter: StageMeter) -> StageContext:
        from benchbench.stages.context import StageContext

        settings = self.settings
        return StageContext(
            job=unwrap(stage["job"]),
            folder=self._folder(stage),
            needs={need["role"]: self.store.stage(need["kind"], need["key"]) for need in stage["needs"]},
            registry=self.registry,
            device=settings["device"],
            threads=settings["threads"],
            held=settings["held"],
            unit=settings["unit"],
            data_root=Path(settings["data_root"]),
            checkpoint_seconds=settings["checkpoint_seconds"],
            report=lambda progress: self._emit("progress", stage["key"], progress=progress),
            meter=meter,
        )

    def _finish(self, stage: dict[str, Any], record: dict[str, Any]) -> None:
        folder = self._folder(stage)
        write_atomic(folder.curve, "".join(json.dumps(row) + "\n" for row in record.pop("curve", [])).encode())
        write_json(folder.record, record)
        for leftover in (folder.checkpoint, folder.state):
            leftover.unlink(missing_ok=True)
        now = time.monotonic()
        self._emit("finished", stage["key"], recorded_seconds=now - self.recording, worked_seconds=now - self.ready)
        self.recording = now

    def _fail(self, stage: dict[str, Any], error: Exception) -> None:
        folder, reason = self._folder(stage), one_line(error)[:1000]
        if not isinstance(error, BenchBenchError):
            reason += f" (traceback in {folder.log})"
        with contextlib.suppress(OSError):  # a full disk, say: the event still tells
            with folder.log.open("a", encoding="utf-8") as log:
                traceback.print_exception(error, file=log)
            write_json(folder.state, {**folder.read_state(), "status": "failed", "reason": reason})
        self._emit("failed", stage["key"], reason=reason)

    def _folder(self, stage: dict[str, Any]) -> StageFolder:
        return self.store.stage(stage["kind"], stage["key"])

    def _emit(self, event: str, key: str, **more: Any) -> None:
        self.events.write(json.dumps({"event": event, "key": key, **more}) + "\n")


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's; not imported here


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
