"""Processes by an identity that holds on every machine, and whether one of this machine has ended."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Where schedulers tell a job its number.
JOB_VARIABLES = (
    "BENCHBENCH_PILOT",
    "SLURM_JOB_ID",
    "RAY_JOB_ID",
    "AWS_BATCH_JOB_ID",
    "PBS_JOBID",
    "LSB_JOBID",
    "JOB_ID",
)


@dataclass(frozen=True)
class Process:
    """One process among those of all machines that share a folder.

    Attributes:
        host: name of its machine.
        pid: its number there.
        boot: of the machine since it was last started; empty where that cannot be told.
        namespace: of its numbers of processes: containers of one machine have several.
        born: its start, as the system counts; with the number it names one process of a boot.
        job: number of its job in a scheduler; empty without one.
    """

    host: str
    pid: int
    boot: str
    namespace: str
    born: str
    job: str = ""

    def __str__(self) -> str:
        return f"{self.host} {self.pid}" + (f" (job {self.job})" if self.job else "")

    @property
    def machine(self) -> str:
        """8 hex digits for all processes that see one another."""
        return hashlib.sha256(f"{self.host} {self.boot} {self.namespace}".encode()).hexdigest()[:8]

    def is_dead(self) -> bool:
        """True where it has ended for sure: it ran on this machine, among processes that this one sees."""
        here = this_process()
        comparable = bool(here.boot and here.born and self.born)
        if not comparable or (self.boot, self.namespace) != (here.boot, here.namespace):
            return False
        return birth(self.pid) != self.born


@functools.lru_cache(maxsize=1)
def _identity(pid: int) -> Process:
    return Process(
        host=socket.gethostname(),
        pid=pid,
        boot=_boot(),
        namespace=_namespace(),
        born=birth(pid),
        job=next(filter(None, map(os.environ.get, JOB_VARIABLES)), ""),
    )


def this_process() -> Process:
    """The process that calls this; one that was forked is another than its parent."""
    return _identity(os.getpid())


def birth(pid: int) -> str:
    """The start of a process of this machine; empty where it has ended, or nothing can be told."""
    if not Path("/proc/self/stat").exists():
        return _output("ps", "-o", "lstart=", "-p", str(pid))
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return _output("sysctl", "-n", "kern.bootsessionuuid")


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _output(*command: str) -> str:
    plain = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}  # `ps` writes times in the language and zone of its caller
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=10, env=plain).stdout.strip()
    return ""
