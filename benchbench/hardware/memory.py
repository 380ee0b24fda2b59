"""Peak memory of a stage."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

HIGH_WATER = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak of this process from now on: on a GPU of torch's allocations, on a CPU of resident memory (Linux).

    Resident memory includes the libraries.
    """

    def __init__(self, device: str):
        self.device = device
        self._known = True
        if device.startswith("cuda"):
            import torch

            torch.cuda.init()  # without it, the allocator knows no device yet
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            RESET.write_text("5")  # sets the high-water mark back to the present size; proc(5)
        except OSError:
            self._known = False  # the mark may be an earlier stage's

    def bytes(self) -> int | None:
        if self.device.startswith("cuda"):
            import torch

            return torch.cuda.max_memory_allocated(self.device)
        with contextlib.suppress(OSError, ValueError):
            for line in HIGH_WATER.read_text().splitlines() if self._known else ():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return None


def forget_peak(device: str) -> None:
    """Counts the peak of this process from now on, as after a measurement that is no part of a training."""
    PeakMemory(device)


def free_memory(device: str) -> None:
    """Gives back memory that nothing uses: that of circles of objects, and on a GPU what torch's allocator keeps."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
