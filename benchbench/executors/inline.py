"""Stages in the process of the runner, one after another: for notebooks, debuggers and tests."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TextIO

from benchbench.errors import BenchBenchError
from benchbench.executors.base import (
    PASSIVE,
    Assignment,
    DeviceRequest,
    Event,
    Executor,
    RunSettings,
    worker_settings,
)
from benchbench.executors.worker import Worker
from benchbench.hardware.devices import Devices
from benchbench.hardware.devices import find_devices as find_local_devices

BROKEN_DEVICE = "this process can no longer use the GPU: start it again, or take --executor local"


class InlineExecutor(Executor):
    """Runs submitted stages inside of `wait`, whatever its timeout.

    Output of Python code goes to the stage's log, that of C libraries to where it went before. A crash ends the run;
    Ctrl-C leaves checkpoints. Thread counts, torch's random numbers and its current GPU are restored afterwards.
    Threads that wait sleep, as in a worker of its own, unless torch is there already, which reads that at its import.
    """

    @classmethod
    def find_devices(cls, request: DeviceRequest) -> Devices:
        if request.jobs not in (None, 1):
            raise BenchBenchError(
                "executor 'inline' runs one stage at a time; leave --jobs out, or use --executor local"
            )
        devices = find_local_devices(request.device, 1)
        return devices if len(devices.slots) == 1 else find_local_devices(f"cuda:{devices.slots[0]}", 1)

    def __init__(self, devices: Devices, settings: RunSettings):
        super().__init__(devices, settings)
        os.environ.setdefault(*PASSIVE)
        self._submitted: deque[tuple[str, list[Assignment]]] = deque()
        self._worker: Worker | None = None
        self._handle: Callable[[Event], None] = lambda event: None
        self._outputs: list[_Output] = []

    def submit(self, slot: str, stages: list[Assignment]) -> None:
        self._submitted.append((slot, stages))

    def wait(self, timeout: float, handle: Callable[[Event], None]) -> None:
        if not self._submitted:
            return
        slot, stages = self._submitted.popleft()
        self._handle, self._outputs = handle, [_Output(sys.stdout), _Output(sys.stderr)]
        with (
            _torch_state(self.devices, slot),
            contextlib.redirect_stdout(self._outputs[0]),
            contextlib.redirect_stderr(self._outputs[1]),
        ):
            settings = worker_settings(self.settings, self.devices, slot)
            if self._worker is None:
                self._worker = Worker(settings, self._emit, self._redirect)
            self._worker.settings = settings
            try:
                self._run(self._worker, stages)
            except _HandlerError as error:
                raise error.cause from None

    def _run(self, worker: Worker, stages: list[Assignment]) -> None:
        try:
            worker.run(stages)
        except SystemExit as error:  # of a library or a plugin: it ends a worker process, and must not end this one
            for stage in stages:  # those that have ended are known to the runner
                self._emit(Event("died", stage.key, worker.settings.slot, f"it called sys.exit({error.code!r})"))

    def _emit(self, event: Event) -> None:
        """Passes an event on; output of its handlers goes to where it went before."""
        if event.name == "broken":  # no other process takes this one's place
            event = replace(event, name="failed", reason=f"{event.reason}; {BROKEN_DEVICE}")
        with contextlib.ExitStack() as stack:
            for output in self._outputs:
                stack.enter_context(output.to(output.original))
            try:
                self._handle(event)
            except Exception as error:
                raise _HandlerError(error) from error

    @contextlib.contextmanager
    def _redirect(self, log: TextIO) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for output in self._outputs:
                stack.enter_context(output.to(log))
            yield

    def close(self) -> None:
        self._submitted.clear()


class _HandlerError(BaseException):
    """An error in the handling of an event, on its way through a stage that must not take it for its own."""

    def __init__(self, cause: Exception):
        super().__init__(cause)
        self.cause = cause


class _Output:
    """A text stream that goes to a log for a while. It stays valid afterwards, for logging handlers that keep it."""

    def __init__(self, original: TextIO):
        self.original = self._target = original

    # Not left to __getattr__: a library that replaces `write` of the stream it finds, such as wandb, keeps this one.
    def write(self, text: str) -> int:
        return self._target.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self._target.writelines(lines)

    def flush(self) -> None:
        self._target.flush()

    @contextlib.contextmanager
    def to(self, target: TextIO) -> Iterator[None]:
        before, self._target = self._target, target
        try:
            yield
        finally:
            self._target = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


@contextlib.contextmanager
def _torch_state(devices: Devices, slot: str) -> Iterator[None]:
    """Makes a slot's GPU the current one; restores the state of torch that stages change."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Exception):
            import torch
        if "torch" not in sys.modules:  # the stage fails, with the reason
            yield
            return
        boards = []
        if devices.kind == "cuda":
            stack.enter_context(_bus_order())
            boards = [find_local_devices("cuda").slots.index(slot.partition(".")[0])]
            stack.enter_context(torch.cuda.device(boards[0]))
        stack.enter_context(torch.random.fork_rng(devices=boards))
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        yield


@contextlib.contextmanager
def _bus_order() -> Iterator[None]:
    """Makes CUDA, if it is not initialised yet, count GPUs by bus as nvidia-smi does."""
    name = "CUDA_DEVICE_ORDER"
    before = os.environ.get(name)
    os.environ[name] = "PCI_BUS_ID"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
