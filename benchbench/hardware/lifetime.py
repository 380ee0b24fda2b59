"""Processes that do not outlive the one that needs them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Has the kernel kill this process as soon as its parent ends, whatever it does then; on Linux alone.

    A process that never comes back from C code cannot notice by itself. The parent is, to the kernel, the thread that
    has started this process.

    Args:
        parent: process that started this one. Where it has ended already, so does this one.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # a C library without it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if _has_ended(parent):
        os.kill(os.getpid(), signal.SIGKILL)


def _has_ended(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return Path("/proc/self").exists()  # else nothing is known
    except OSError:
        return False
    return state in ("Z", "X")
