"""Processes of Python that have torch imported: a server imports it once for all workers of pytest, and forks them.

For tests of what a process does, not of how Python starts. `python -m tests.forked ADDRESS` is the server.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

ROOT = Path(__file__).parents[1]
VARIABLE = "BENCHBENCH_TEST_SERVER"  # of the environment: the server's address
# What a module runs; others have a function `main`.
MAINS = {"benchbench": "benchbench.cli.main:main", "pytest": "pytest:main"}
HOLD = b"hold"
MESSAGE_BYTES, MOST_DESCRIPTORS = 1 << 17, 16
START_SECONDS = 300.0
# What a run imports on its way, beside the libraries of its stages.
OF_RUNS = ("torch._dynamo", "pandas", "pyarrow.pandas_compat", "pytest", "rich.live", "tabulate", "tests.networks")
# Its plan reads the code of what runs most, whose hashes every plan of a forked process has then.
SUITE = """
name: plan
seeds: [0]
data: {few: {source: cifar10_subset}}
students: {small: {model: timm/test_efficientnet}}
teachers: {big: {model: timm/test_resnet, adapt: [scratch]}}
recipes: {default: {epochs: 1, batch_size: 1, image_size: 32, augment: {flip: {}, random_crop: {}}}}
arms: {kd: {method: distill, loss: {ce: 1, kd: 1}}, scratch: {method: scratch}}
"""


class Server:
    """The server of a run of pytest; whoever is first starts it.

    Args:
        name: of the run; processes that give the same name share a server.
        environment: that it starts with; by default that of this process.

    Attributes:
        address: of its socket.
    """

    _of_this_run: Server | None = None

    def __init__(self, name: str, environment: Mapping[str, str] | None = None):
        self.address = f"benchbench-tests-{name}"
        # No pool of threads, which a fork would lose: not even by a library that computes as it is imported.
        env = {**(environment or os.environ), "OMP_NUM_THREADS": "1", VARIABLE: self.address}
        command, null = [sys.executable, "-m", "tests.forked", self.address], subprocess.DEVNULL
        deadline = time.monotonic() + START_SECONDS
        process: subprocess.Popen[bytes] | None = None
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                self._connection = connect(self.address)
                break
            if process is None:
                process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=null, stdout=null, stderr=null)
            assert time.monotonic() < deadline, "the server of forked processes does not start"
            time.sleep(0.02)
        self._connection.send(HOLD)

    @classmethod
    def of_this_run(cls) -> str:
        """The address of the server that all workers of pytest share."""
        if VARIABLE not in os.environ:
            cls._of_this_run = cls(os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex))
            os.environ[VARIABLE] = cls._of_this_run.address
        return os.environ[VARIABLE]

    def close(self) -> None:
        """Lets it go."""
        self._connection.close()


def connect(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"\0{address}")  # no file: it goes with the server
    except OSError:
        connection.close()
        raise
    return connection


class ForkedProcess:
    """A process in place of `subprocess.Popen`, with the arguments and methods that are used here.

    Args:
        command: Python's, with `-m MODULE` or `-c CODE`.
        cores: that it runs on; by default those of this process.
        address: of the server; by default that of this run.
    """

    def __init__(
        self,
        command: Sequence[object],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        text: bool = True,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        cores: set[int] | None = None,
        address: str | None = None,
    ):
        self.returncode: int | None = None
        self._ending = threading.Lock()
        address = address or Server.of_this_run()
        self._connection = connect(address)
        request = Request(
            arguments=[str(each) for each in command[1:]],
            descriptors=[0, 1, 2, *pass_fds],
            cwd=str(cwd or Path.cwd()),
            environment={**(os.environ if env is None else env), VARIABLE: address},
            cores=sorted(cores or os.sched_getaffinity(0)),
        )
        with contextlib.ExitStack() as theirs:
            self.stdin, given_in = _stream(theirs, 0, stdin)
            self.stdout, given_out = _stream(theirs, 1, stdout)
            self.stderr, given_err = _stream(theirs, 2, stderr)
            message = json.dumps(vars(request)).encode()
            socket.send_fds(self._connection, [message], [given_in, given_out, given_err, *pass_fds])
        answer = self._connection.recv(MESSAGE_BYTES)
        assert answer, "the server of forked processes has ended: see `python -m tests.forked test`"
        self.pid = int(answer)

    def poll(self) -> int | None:
        """The exit code, minus the signal of a killed process; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            with self._ending:  # an executor waits in several threads
                if self.returncode is None:
                    self.returncode = int(self._connection.recv(MESSAGE_BYTES))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end; gives the output and the errors."""
        texts = {}
        pipes = {name: pipe for name, pipe in (("out", self.stdout), ("err", self.stderr)) if pipe is not None}
        readers = [threading.Thread(target=lambda n=n, p=p: texts.update({n: p.read()})) for n, p in pipes.items()]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return texts.get("out", ""), texts.get("err", "")


def _stream(theirs: contextlib.ExitStack, number: int, given: Any) -> tuple[IO[str] | None, int]:
    """Our end of a pipe, if one is asked for, and the descriptor that the process gets; `theirs` closes that."""
    if given == subprocess.PIPE:
        reading, writing = os.pipe()
        their, our = (reading, writing) if number == 0 else (writing, reading)
        theirs.callback(os.close, their)
        return os.fdopen(our, "w" if number == 0 else "r"), their
    if given == subprocess.DEVNULL:
        return None, theirs.enter_context(open(os.devnull, "r+")).fileno()
    return None, number if given is None else given if isinstance(given, int) else given.fileno()


@contextlib.contextmanager
def forked_workers() -> Iterator[None]:
    """While it lasts, the local executor's workers and fork servers are forked processes; not those of a real GPU."""

    def start(command: Sequence[object], **options: Any) -> ForkedProcess | subprocess.Popen[str]:
        on_a_gpu = "CUDA_VISIBLE_DEVICES" in options["env"] and "BENCHBENCH_CUDA_STUB" not in os.environ
        return (subprocess.Popen if on_a_gpu else ForkedProcess)(command, **options)

    names = {name: getattr(subprocess, name) for name in ("PIPE", "DEVNULL", "TimeoutExpired")}
    forked = SimpleNamespace(Popen=start, **names)
    with contextlib.ExitStack() as stack:
        for module in ("local", "fork_server", "ranks"):
            stack.enter_context(mock.patch(f"benchbench.executors.{module}.subprocess", forked))
        yield


@dataclass(frozen=True)
class Request:
    """The description of a process to start.

    Attributes:
        arguments: of Python.
        descriptors: numbers under which it has the files that come with the request.
        cwd: where it runs.
        environment: all of it.
        cores: that it runs on.
    """

    arguments: list[str]
    descriptors: list[int]
    cwd: str
    environment: dict[str, str]
    cores: list[int]

    def run(self, files: list[int]) -> None:
        """Becomes that process."""
        import numpy as np

        from tests import networks

        # First out of the way of all numbers that are to be taken.
        moved = [fcntl.fcntl(each, fcntl.F_DUPFD, max(self.descriptors) + 1) for each in files]
        for file in files:
            os.close(file)
        for file, number in zip(moved, self.descriptors, strict=True):
            os.dup2(file, number)
            os.close(file)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        np.random.seed()  # a copy of the server's, otherwise; Python's own starts anew after a fork
        os.chdir(self.cwd)
        os.sched_setaffinity(0, self.cores)
        os.environ.clear()
        os.environ.update(self.environment)
        option, target, *rest = self.arguments
        paths = [self.cwd, *filter(None, self.environment.get("PYTHONPATH", "").split(os.pathsep))]
        sys.path[:0] = [path for path in paths if path not in sys.path]
        sys.argv = [target if option == "-m" else option, *rest]
        here = mock.patch("benchbench.costs.flops.subprocess", SimpleNamespace(run=networks.in_this_process))
        once = mock.patch.multiple("benchbench.hardware.reference_step", WARM_UP=0, REPEATS=1)  # by each of them
        with forked_workers(), here, once:
            if option == "-c":
                exec(target, {"__name__": "__main__"})  # noqa: S102
                return
            module, _, function = MAINS.get(target, f"{target}:main").partition(":")
            sys.exit(getattr(importlib.import_module(module), function)())


def main() -> None:
    """Serves the address that is the first argument; in a forked process, becomes what is asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(f"\0{sys.argv[1]}")
    except OSError:  # another has it: two were started at once
        return
    listener.listen(64)
    _import_libraries()
    process = _Loop(listener).serve()
    if process is not None:
        try:
            process[0].run(process[1])
        except SystemExit as end:
            if end.code is None or isinstance(end.code, int):
                _end(end.code or 0)
            raise
        _end(0)


def _end(code: int) -> None:
    """Ends a forked process as Python does, but takes no library apart, which would copy all of the server's memory."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _import_libraries() -> None:
    from benchbench.executors.fork_server import COMMON_KINDS, LIBRARIES
    from benchbench.stages import RUNNERS

    # diffusers asks for CUDA as it is imported, and no process that is forked later could use a GPU, or the stub.
    cuda = "BENCHBENCH_CUDA_STUB" in os.environ or Path("/dev/nvidiactl").exists()
    stages = {RUNNERS[kind] for kind in (COMMON_KINDS if cuda else RUNNERS)}
    ours = "benchbench.cli.main", "benchbench.executors.worker", "benchbench.running.runner", *sorted(stages)
    for name in (*LIBRARIES, *OF_RUNS, *ours):
        importlib.import_module(name)
    importlib.import_module("PIL.Image").init()  # a module for each kind of file
    _plan()
    gc.collect()
    gc.freeze()  # processes do not copy these pages only to look through them


def _plan() -> None:
    """Makes a plan; it computes with no tensor."""
    from benchbench.api import load_suite
    from benchbench.hardware.devices import Devices
    from benchbench.planning.expand import make_plan
    from benchbench.plugins import load_plugins

    make_plan(load_suite(SUITE), load_plugins().registry, Devices("cpu", "a processor", ("0",), 1), Path())


class _Loop:
    """The server's work."""

    def __init__(self, listener: socket.socket):
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.selector.register(listener, selectors.EVENT_READ)
        self.holders: set[socket.socket] = set()
        self.children: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor of each

    def serve(self) -> tuple[Request, list[int]] | None:
        """Returns when nobody holds the server any more; and in every forked process, with what that is to be."""
        begun = False
        while self.holders or not begun:
            ready = self.selector.select(None if begun else START_SECONDS)
            for key, _ in ready:
                if key.fileobj is self.listener:
                    process = self._accept()
                    if process is not None:
                        return process
                    begun |= bool(self.holders)
                elif key.fileobj in self.holders:
                    self.holders.remove(key.fileobj)
                    self._close(key.fileobj)
                else:
                    self._reap(key.fd)
            begun |= not ready
        for pid, _ in self.children.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return None

    def _accept(self) -> tuple[Request, list[int]] | None:
        connection, _ = self.listener.accept()
        message, files, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, MOST_DESCRIPTORS)
        if message == HOLD:
            self.holders.add(connection)
            self.selector.register(connection, selectors.EVENT_READ)
            return None
        if not message:  # it was killed meanwhile
            connection.close()
            return None
        with warnings.catch_warnings(action="ignore"):  # of threads; a library's idle pool restarts after a fork
            pid = os.fork()
        if pid == 0:
            self._leave(connection)
            return Request(**json.loads(message)), files
        for each in files:
            os.close(each)
        with contextlib.suppress(OSError):
            connection.send(str(pid).encode())
        descriptor = os.pidfd_open(pid)
        self.children[descriptor] = pid, connection
        self.selector.register(descriptor, selectors.EVENT_READ)
        return None

    def _leave(self, connection: socket.socket) -> None:
        """Closes, in a forked process, all that is the server's."""
        for each in (self.selector, self.listener, connection, *self.holders):
            each.close()
        for descriptor, (_, other) in self.children.items():
            os.close(descriptor)
            other.close()

    def _reap(self, descriptor: int) -> None:
        pid, connection = self.children.pop(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):
            connection.send(str(code).encode())
        connection.close()
        self.selector.unregister(descriptor)
        os.close(descriptor)

    def _close(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main()
