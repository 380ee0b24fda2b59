"""A process that runs stages, one after another: `python -m benchbench.executors.worker`.

It reads JSON lines: first its settings, then one list of stages per line, which it runs side by side; it writes events
as JSON lines. Results go to the store. When its input ends, because the runner is done or dead, it ends at once; and
when its GPU fails every call from here on. SIGTERM, and the signals by which schedulers announce the end of a job
(SIGUSR1, SIGUSR2), have it save a checkpoint first.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from benchbench.errors import (
    BenchBenchError,
    ClaimLostError,
    GlobalStateError,
    StageError,
    breaks_device,
    clear_frames,
    is_out_of_memory,
)
from benchbench.executors.base import ASSIGNMENTS, EVENT, WORKER_SETTINGS, Assignment, Event, EventName, WorkerSettings
from benchbench.executors.logs import open_log, reason_of, redirect_files, shortened
from benchbench.executors.ranks import boards_of, joined
from benchbench.executors.stage_progress import StageReporter, forget_progress
from benchbench.hardware.energy import EnergyCounter, StageMeter, open_counter
from benchbench.hardware.lifetime import end_with_parent
from benchbench.hardware.memory import PeakMemory, free_memory
from benchbench.planning.test_part import set_record_aside
from benchbench.plugins import load_plugins
from benchbench.specs.stages import TrainingSpec
from benchbench.stages import runner_of
from benchbench.store import StageFolder, StageState, Store
from benchbench.store.processes import this_process
from benchbench.training.stop import STOP, StageStopped

if TYPE_CHECKING:
    from benchbench.executors.process_state import ProcessState
    from benchbench.specs.records import Environment, Progress
    from benchbench.stages.context import StageContext, StageResult

    Result = StageResult | Exception

BROKEN_DEVICE, STOPPED = 3, 128 + signal.SIGTERM  # exit codes
ENDINGS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
SAVE_SECONDS = 20  # for a checkpoint: schedulers kill after 30


def main(parent: int | None = None) -> None:
    """Serves the runner at the other end of standard input and output until it closes the input.

    Args:
        parent: process that it must not outlive; None where it may, such as on another machine.
    """
    if parent is not None:
        end_with_parent(parent)
    _heed_signals()
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of a library must not end up among the events
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a text that is printed is no failure
    # Away from sys.stdin: a loader process, forked while the thread below waits inside its lock, would wait there too.
    stdin = os.fdopen(os.dup(0))
    sys.stdin = open(os.devnull)  # noqa: SIM115 (for the life of the process)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_input, args=(stdin, lines), daemon=True).start()
    settings = WORKER_SETTINGS.validate_json(lines.get())
    worker = Worker(settings, lambda event: print(EVENT.dump_json(event).decode(), file=events), redirect_files)
    while worker.usable and not worker.leaves:
        try:
            worker.run(ASSIGNMENTS.validate_json(lines.get()))
        except StageStopped:
            os._exit(STOPPED)
    os._exit(BROKEN_DEVICE)  # at once: libraries would call the GPU once more


def _read_input(stdin: TextIO, lines: queue.Queue[str]) -> None:
    for line in stdin:
        lines.put(line)
    os._exit(0)


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # they reach the whole group; the runner decides
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _end_soon)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _end_soon(number: int, frame: FrameType | None) -> None:
    """Ends the process: at once, or once the stage has saved, where it looks for that."""
    if STOP.made:  # a scheduler and the runner may both ask
        return
    if not STOP.awaited:
        os._exit(STOPPED)
    STOP.reason = StageStopped()
    signal.alarm(SAVE_SECONDS)


class Worker:
    """Runs stages: settings, components and libraries, loaded once for many.

    Args:
        settings: of this worker.
        emit: takes events.
        redirect: sends the output of the process to a log for a while.

    Attributes:
        usable: false where the device fails every call from here on.
        leaves: true where a stage has changed the state of the process, which takes no more.
        ready: time at which it was ready for the stages at hand.
        recording: time at which it began to write the record at hand.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        emit: Callable[[Event], None],
        redirect: Callable[[TextIO], AbstractContextManager[None]],
    ):
        self.settings, self.emit, self.redirect = settings, emit, redirect
        self.store = Store(settings.store)
        self.registry = load_plugins(settings.plugins).registry
        self.counter: EnergyCounter | None = None
        self.usable, self.leaves = True, False
        self.process: ProcessState | None = None
        self.ready = self.recording = time.monotonic()
        self.compared = 0.0

    def run(self, stages: Sequence[Assignment]) -> None:
        """Runs stages, side by side where there are several; a failure of one becomes an event.

        Raises:
            BaseException: the reason of a request to end, see `benchbench.training.stop`.
        """
        begun = [stage for stage in stages if self._begin(stage)]
        if not begun:
            return
        crowded = self._attempt(begun)
        self._free_memory(always=bool(crowded))
        for stage in crowded:  # a stage that did not fit into memory beside others may fit alone
            if self.usable:
                self._attempt([stage], retry=False)
                self._free_memory()
            else:
                self._emit("broken", stage, reason="another stage broke its device")
        STOP.leave()

    def _begin(self, stage: Assignment) -> bool:
        folder = self._folder(stage)
        attempts = folder.read_state().attempts + 1
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.hold(stage.claim)
            set_record_aside(folder, stage.claim)
            forget_progress(folder)
            folder.write_spec(stage.spec)
            here = this_process()
            started = StageState(status="running", attempts=attempts, pid=here.pid, host=here.host, started=time.time())
            folder.write_state(started)
        except Exception as error:
            self._end(stage, error)
            return False
        self._emit("started", stage)
        return True

    def _attempt(self, stages: Sequence[Assignment], retry: bool = True) -> list[Assignment]:
        """Runs stages in one go; gives back those that ran out of memory beside others, where a retry is allowed."""
        leader = self._folder(stages[0])
        for stage in stages[1:]:
            with self._folder(stage).log.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"side by side with {len(stages) - 1} more: see {leader.log}\n")
        STOP.awaited = False
        with open_log(leader) as log, self.redirect(log):
            settings, attempts = self.settings, leader.read_state().attempts
            print(f"attempt {attempts} on {settings.device}, {settings.threads} threads")
            try:
                results = self._run(stages)
            except Exception as error:
                results = [error] * len(stages)
        self.recording = time.monotonic()
        STOP.awaited = False
        errors = [result for result in results if isinstance(result, Exception)]
        for each in errors:
            clear_frames(each)
        if errors:  # the end of a loader's process, say, that the same signal has reached
            STOP.leave()
        self.usable = not any(map(breaks_device, errors))
        crowded = []
        for stage, result in zip(stages, results, strict=True):
            if retry and len(stages) > 1 and isinstance(result, Exception) and is_out_of_memory(result):
                crowded.append(stage)
            else:
                self._end(stage, result)
        return crowded

    def _free_memory(self, always: bool = False) -> None:
        """Leaves a GPU's memory to the next stage; on a CPU it takes longer than a small stage, and is not needed."""
        if self.usable and (always or self.settings.device.startswith("cuda")):
            free_memory(self.settings.device)

    def _run(self, stages: Sequence[Assignment]) -> list[Result]:
        # Imported here and not above: a stage that cannot import its library fails as a stage, with a log.
        from benchbench.executors.process_state import ProcessState
        from benchbench.hardware.environment import environment
        from benchbench.stages.similarity import with_similarity

        settings = self.settings
        runner = importlib.import_module(runner_of(stages[0].spec))
        importlib.import_module("torch._dynamo")  # for seconds; the first optimiser would import it
        process = self.process = self.process or ProcessState(self.registry)
        # Imported before the stage's clock starts: the first stage of a worker would pay for all that follow.
        process.load({name for stage in stages for name in stage.spec.components})
        if apart := {**process.apart(stages), **process.edited(stages)}:
            here = [stage for stage in stages if stage.key not in apart]
            ended = dict(zip((stage.key for stage in here), self._run(here) if here else [], strict=True))
            return [ended[stage.key] if stage.key in ended else apart[stage.key] for stage in stages]
        counter, peak = self._counter(stages[0]), PeakMemory(settings.device)
        contexts = [self._context(stage, StageMeter(counter, 1 / len(stages))) for stage in stages]
        software = environment(settings.device, settings.device_name, settings.commit)
        with process.kept(stages):
            results = self._results(runner.__name__, stages, contexts)
            completed = self._completed(list(zip(stages, contexts, results, strict=True)), software, peak.bytes())
        self.leaves = bool(process.remarks)
        # Beside the work: its cost is complete. In a state that a component has changed nothing is measured.
        begun = time.monotonic()
        measured = settings.compares and not self.leaves
        compared = with_similarity(contexts, completed) if measured else completed
        self.compared = (time.monotonic() - begun) / len(stages)
        return compared

    def _results(self, runner: str, stages: Sequence[Assignment], contexts: Sequence[StageContext]) -> list[Result]:
        """Results of stages by the module that runs them, with further processes where one holds several slots."""
        if len(contexts) == 1 and _is_trained(contexts[0]):
            runner, stages = "benchbench.stages.retest", [replace(stages[0], slots=())]
        with joined(self.settings, stages[0], partial(self._give_up, stages[0])) as world:
            self.ready = time.monotonic()
            self._emit("ready", stages[0])
            module = importlib.import_module(runner)
            if len(contexts) > 1:
                return list(module.run_group(contexts))
            # A failure on several GPUs may leave messages between them under way.
            self.leaves = world is not None and self.settings.board is not None
            result = module.run(contexts[0] if world is None else replace(contexts[0], world=world))
            self.leaves = False
        return [result]

    def _give_up(self, stage: Assignment, reason: str) -> None:
        """Ends this process, which waits for good for another that has ended."""
        self.leaves = True
        self._fail(stage, StageError(reason))
        os._exit(BROKEN_DEVICE)

    def _completed(
        self, ends: list[tuple[Assignment, StageContext, Result]], software: Environment, peak_bytes: int | None
    ) -> list[Result]:
        """Results with everything in their records that the worker alone knows."""
        import torch

        software = software.model_copy(update={"threads": torch.get_num_threads()})  # as during the work
        completed: list[Result] = []
        for stage, context, result in ends:
            if isinstance(result, Exception):
                completed.append(result)
                continue
            most_bytes = max(filter(None, (peak_bytes, result.record.cost.peak_bytes)), default=None)
            costs = {"energy_joules": context.meter.joules(), "peak_bytes": most_bytes}
            changes = {"key": stage.key, "label": stage.label, "environment": software}
            changes["cost"] = result.record.cost.model_copy(update=costs)
            completed.append(replace(result, record=result.record.model_copy(update=changes)))
        return completed

    def _counter(self, stage: Assignment) -> EnergyCounter | None:
        """The energy counter of devices that this worker shares with no other."""
        if stage.slots:
            boards = boards_of(self.settings, stage)
            return open_counter("cuda", boards) if boards and self.settings.exclusive else None
        if self.counter is None and self.settings.exclusive:
            board = self.settings.board
            self.counter = open_counter("cpu" if board is None else "cuda", [] if board is None else [board])
        return self.counter

    def _context(self, stage: Assignment, meter: StageMeter) -> StageContext:
        from benchbench.stages.context import StageContext

        def pass_on(progress: Progress) -> None:
            self._emit("progress", stage, progress=progress)

        settings, folder = self.settings, self._folder(stage)
        return StageContext(
            spec=stage.spec,
            folder=folder,
            needs={role: self.store.stage(kind, key) for role, (kind, key) in stage.needs.items()},
            registry=self.registry,
            device=settings.device,
            threads=settings.threads,
            num_devices=settings.num_devices,
            unit=settings.unit,
            data_root=settings.data_root,
            checkpoint_seconds=settings.checkpoint_seconds,
            report=StageReporter(folder, pass_on),
            meter=meter,
        )

    def _end(self, stage: Assignment, result: Result) -> None:
        try:
            if stage.claim is not None:
                stage.claim.require()
            if isinstance(result, Exception):
                raise result
            self._finish(stage, result)
        except ClaimLostError as error:
            self._lose(stage, error)
        except GlobalStateError as error:
            self._move(stage, error)
        except Exception as error:
            self._fail(stage, error)
        finally:
            self._folder(stage).let_go()

    def _lose(self, stage: Assignment, error: ClaimLostError) -> None:
        """Leaves a stage to the process that has taken it over; its files, the log among them, are that one's."""
        with contextlib.suppress(OSError):
            self._folder(stage).write_loss(stage.claim, f"attempt on {this_process()} ended: {error}")
        self._emit("lost", stage, reason=str(error))

    def _move(self, stage: Assignment, error: GlobalStateError) -> None:
        """Leaves a stage to be run alone from its beginning: a checkpoint may hold what others have changed."""
        assert self.process is not None
        who = f"{self.process.culprit([stage])}: " if error.own else ""
        reason = f"{who}{reason_of(error)}; it runs alone"
        folder = self._folder(stage)
        with contextlib.suppress(OSError, ClaimLostError):
            with open_log(folder) as log:
                print(reason, file=log)
            folder.checkpoint.unlink(missing_ok=True)
            folder.write_state(folder.read_state().model_copy(update={"status": "failed", "reason": reason}))
        self._emit("misplaced", stage, reason=reason)

    def _finish(self, stage: Assignment, result: StageResult) -> None:
        folder = self._folder(stage)
        remarks = tuple(self.process.remarks) if self.process else ()
        folder.write_record(result.record.model_copy(update={"remarks": remarks}), result.curve)
        for leftover in (folder.checkpoint, folder.state, folder.earlier_record):
            leftover.unlink(missing_ok=True)
        forget_progress(folder)
        now = time.monotonic()
        seconds = {
            "compared_seconds": self.compared,
            "recorded_seconds": now - self.recording,
            "worked_seconds": now - self.ready,
        }
        self._emit("finished", stage, leaves=self.leaves, **seconds)
        self.recording = now

    def _fail(self, stage: Assignment, error: Exception) -> None:
        folder, reason = self._folder(stage), reason_of(error)
        if not isinstance(error, BenchBenchError):
            reason += f" (traceback in {folder.log})"
        with contextlib.suppress(OSError, ClaimLostError):  # on a full disk, say, the event still reports it
            with open_log(folder) as log:
                log.write(shortened("".join(traceback.format_exception(error))))
            folder.write_state(folder.read_state().model_copy(update={"status": "failed", "reason": reason}))
        self._emit("broken" if breaks_device(error) else "failed", stage, reason=reason, leaves=self.leaves)

    def _folder(self, stage: Assignment) -> StageFolder:
        return self.store.stage(stage.kind, stage.key)

    def _emit(self, name: EventName, stage: Assignment, **details: Any) -> None:
        self.emit(Event(name, stage.key, self.settings.slot, **details))


def _is_trained(context: StageContext) -> bool:
    """True for a stage whose training is finished, and whose test images have changed since."""
    if not context.folder.earlier_record.exists() or not isinstance(context.spec, TrainingSpec):
        return False
    from benchbench.stages.retest import can_retest

    return can_retest(context)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
