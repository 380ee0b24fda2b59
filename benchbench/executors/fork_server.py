"""A process that has imported the libraries of most stages, and forks a worker per request in milliseconds.

It serves one executor, on a CPU and on Linux alone, through a socket; it ends, and its workers with it, when that
closes. Before it forks it runs no tensor operation, since a pool of OpenMP threads does not survive a fork, and it
never touches CUDA.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from benchbench.hardware.lifetime import end_with_parent
from benchbench.stages import RUNNERS

LIBRARIES = ("torch", "torchvision", "timm")
# Without those that generate images, whose libraries take as long to import as all of these.
COMMON_KINDS = ("cell", "pretraining", "teacher", "outputs", "tuning", "calibration")
# A message is one of them and the worker's number.
START, EXIT_CODE, TERMINATE, KILL = "start", "exit code", "terminate", "kill"
MESSAGE_BYTES = 64
GROUP_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# A worker that has closed its output is about to end; one that does not is killed.
END_SECONDS = 10.0


class ForkServer:
    """The executor's end.

    Args:
        log: file for the server's own output.
        environment: of the server and its workers.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._request = threading.Lock()
        self._num_workers = 0
        with theirs, log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchbench.executors.fork_server", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=[theirs.fileno()],
            )

    def start(self, log: Path) -> ForkedWorker:
        """Starts a worker whose standard error is a log. It need not have been forked yet when this returns.

        Raises:
            OSError: the server has ended.
        """
        stdin, to_worker = os.pipe()
        from_worker, stdout = os.pipe()
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            ours.callback(os.close, to_worker)
            ours.callback(os.close, from_worker)
            theirs.callback(os.close, stdin)
            theirs.callback(os.close, stdout)
            stderr = theirs.enter_context(log.open("w"))
            number = self._num_workers
            socket.send_fds(self._control, [f"{START} {number}".encode()], [stdin, stdout, stderr.fileno()])
            ours.pop_all()
        self._num_workers += 1
        return ForkedWorker(self, number, os.fdopen(to_worker, "w"), os.fdopen(from_worker))

    def send(self, message: str, number: int) -> None:
        """Sends a worker a signal by the server, which knows its process: TERMINATE or KILL."""
        with contextlib.suppress(OSError):  # the server is gone, and its workers with it
            self._control.send(f"{message} {number}".encode())

    def exit_code(self, number: int) -> int | None:
        """The exit code of a worker that ends, minus the signal of a killed one; None where the server is gone."""
        with self._request, contextlib.suppress(OSError, ValueError):
            self._control.send(f"{EXIT_CODE} {number}".encode())
            return int(self._control.recv(MESSAGE_BYTES))
        return None

    def close(self) -> None:
        """Ends the server and all its workers."""
        with contextlib.suppress(OSError):  # it has ended already
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # it is still importing, and has no worker yet
            self._process.kill()
            self._process.wait()
        self._control.close()


class ForkedWorker:
    """A worker process as its executor sees it."""

    def __init__(self, server: ForkServer, number: int, stdin: IO[str], stdout: IO[str]):
        self._server, self._number = server, number
        self.stdin, self.stdout = stdin, stdout

    def exit_code(self) -> int | None:
        return self._server.exit_code(self._number)

    def terminate(self) -> None:
        self._server.send(TERMINATE, self._number)

    def kill(self) -> None:
        self._server.send(KILL, self._number)


def main() -> None:
    """Serves the socket whose descriptor is the first argument; in a forked process, becomes a worker.

    The second argument is the executor's process.
    """
    for number in GROUP_SIGNALS:  # they reach the whole group; the runner decides
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(int(sys.argv[2]))
    _import_libraries()
    server = os.getpid()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        streams = _serve(control)
    if streams:
        end_with_parent(server)
        _work(streams)


def _import_libraries() -> None:
    for name in ("benchbench.executors.worker", *LIBRARIES, *(RUNNERS[kind] for kind in COMMON_KINDS)):
        with contextlib.suppress(Exception):  # a stage that needs it fails as a stage, with a log
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # workers do not copy these pages only to look through them


def _serve(control: socket.socket) -> list[int]:
    """Answers until the executor is done or dead; returns in every worker too, with its standard streams."""
    workers: dict[str, int] = {}
    while True:
        message, streams, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 3)
        request, _, number = message.decode().rpartition(" ")
        if request == START:
            with warnings.catch_warnings(action="ignore"):  # of threads; a library's idle pool restarts after a fork
                workers[number] = os.fork()
            if workers[number] == 0:
                return streams
            for descriptor in streams:
                os.close(descriptor)
        elif request == EXIT_CODE:
            control.send(str(_exit_code(workers.pop(number))).encode())
        elif request in (TERMINATE, KILL):
            if number in workers:
                os.kill(workers[number], signal.SIGTERM if request == TERMINATE else signal.SIGKILL)
        else:
            break
    for pid in workers.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return []


def _exit_code(pid: int) -> int:
    deadline = time.monotonic() + END_SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _work(streams: list[int]) -> None:
    import numpy as np

    from benchbench.executors import worker

    for stream, descriptor in enumerate(streams):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    np.random.seed()  # numpy's global generator is a copy of the server's; Python's own starts anew after a fork
    worker.main()


if __name__ == "__main__":
    main()
