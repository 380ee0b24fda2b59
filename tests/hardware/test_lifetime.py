"""A process that never comes back from C code ends with the one that needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchbench.hardware.lifetime import end_with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")

# It holds the interpreter: no signal handler, no thread and no `finally` of it ever runs.
CHILD = """
import ctypes, sys
from benchbench.hardware.lifetime import end_with_parent
end_with_parent(int(sys.argv[1]))
print("ready", flush=True)
ctypes.PyDLL(None).sleep(600)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def has_ended(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends while its file is read
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while not has_ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_that_holds_the_interpreter_ends_with_its_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    with parent:
        child = int(parent.stdout.readline())
        assert not has_ended(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for_end(child)


def test_a_parent_that_has_ended_before():
    """Between the start of a process and its request to the kernel."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    child = subprocess.run([sys.executable, "-c", CHILD, str(ended.pid)], capture_output=True)
    assert child.returncode == -signal.SIGKILL
    assert child.stdout == b""


def test_a_parent_that_lives_is_let_be():
    end_with_parent(os.getppid())
