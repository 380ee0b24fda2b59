"""Operating systems that a run works on."""

from __future__ import annotations

import sys

from benchbench.errors import BenchBenchError


def require_platform() -> None:
    """Refuses Windows, where stores cannot be locked (fcntl) and workers not started (inherited descriptors).

    Raises:
        BenchBenchError: this is Windows.
    """
    if sys.platform in ("win32", "cygwin"):
        raise BenchBenchError("benchbench runs on Linux and macOS; on Windows, run it in WSL: `wsl --install`")
