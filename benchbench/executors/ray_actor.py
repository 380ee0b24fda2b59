"""The actor that holds the resources of one pilot on a Ray cluster. It imports no Ray: the cluster wraps it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchbench.hardware.devices import GRANTED_VARIABLE

# Of a child that does not outlive the actor, whatever ends that.
CHILD = """
import sys
from benchbench.hardware.lifetime import end_with_parent
end_with_parent(int(sys.argv.pop(1)))
from benchbench.cli.main import main
main(sys.argv[1:])
"""


class PilotActor:
    """Runs `benchbench work` as its child.

    Args:
        program: Python text of the child, which gets this process's number before the arguments.
        arguments: of `benchbench`.
        variables: added to the environment.
        log: for its output.
    """

    def __init__(self, program: str, arguments: Sequence[str], variables: Mapping[str, str], log: str):
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, str(os.getpid()), *arguments],
                env={**os.environ, GRANTED_VARIABLE: f"{time.time():.3f}", **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def place(self) -> str:
        """The machine that it is on."""
        return socket.gethostname()

    def wait(self) -> int:
        """The exit code of the work, once that has ended."""
        return self.process.wait()

    def terminate(self) -> None:
        """Asks the work to save and end."""
        self.process.terminate()
