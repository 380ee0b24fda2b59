"""`benchbench` in processes that can be killed and have torch imported: a server imports it once, and forks them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from benchbench.cli.main import main
from benchbench.executors.fork_server import COMMON_KINDS, LIBRARIES
from benchbench.stages import RUNNERS
from tests import networks

_CONTEXT = multiprocessing.get_context("forkserver")
# As benchbench's own server: none of them runs a tensor operation, whose threads a fork would lose.
_CONTEXT.set_forkserver_preload(
    ["pytest", "pandas", "benchbench.cli.main", *LIBRARIES, *{RUNNERS[kind] for kind in COMMON_KINDS}]
)


class ForkedCommand:
    """A command in a forked process; its methods are those of `subprocess.Popen`.

    Args:
        arguments: of `benchbench`.
        cwd: where the command runs; its output goes to files there.
        cores: cores that it runs on.
    """

    def __init__(self, arguments: list[str], cwd: Path, cores: set[int]):
        self._outputs = [cwd / f"forked-{name}.txt" for name in ("out", "err")]
        # A daemon: it is killed where a test fails and leaves it.
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_run, args=(arguments, cwd, cores, self._outputs), daemon=True
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal of a killed process."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end; gives the output and the errors."""
        self._process.join(timeout)
        assert self.returncode is not None, "it still runs"
        out, err = (path.read_text() for path in self._outputs)
        return out, err


def _run(arguments: list[str], cwd: Path, cores: set[int], outputs: list[Path]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    for descriptor, path in enumerate(outputs, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(cwd)
    os.sched_setaffinity(0, cores)
    with mock.patch("benchbench.costs.flops.subprocess", SimpleNamespace(run=networks.in_this_process)):
        main(arguments)
