"""Energy by the counters of boards and processors, read at both ends of a stage.

A counter covers a whole board, or all of a machine's processors: where several workers share one, no stage's part of it
is known, and only the run as a whole has a figure.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from benchbench.hardware.devices import Devices

POWERCAP = Path("/sys/class/powercap")
# A processor's counter begins anew after some minutes at full power; it must be read more often than that.
READ_SECONDS = 20.0


class EnergyCounter(Protocol):
    """An energy counter. It never raises while it is read: a driver that falters must not end a run."""

    def joules(self) -> float | None:
        """Joules since it was opened; None where it cannot be read now."""
        ...


class Boards:
    """GPU boards, by NVML's counter of each (Volta and later).

    Args:
        indices: of the boards, by bus, as nvidia-smi counts them.

    Raises:
        Exception: NVML is not there, or a board has no such counter.
    """

    def __init__(self, indices: Sequence[int], nvml: Any = None):
        self._nvml = nvml or importlib.import_module("pynvml")
        self._nvml.nvmlInit()
        self._boards = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in indices]
        self._begun = self._read()

    def joules(self) -> float | None:
        with contextlib.suppress(Exception):  # NVML's errors are its own
            return self._read() - self._begun
        return None

    def _read(self) -> float:
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(board) for board in self._boards) / 1000


class Processors:
    """This machine's processor packages, whatever runs on them, by Linux' powercap counters (RAPL).

    Args:
        root: of the powercap tree.

    Raises:
        OSError: there is none, or it may not be read (most systems keep it to root).
    """

    def __init__(self, root: Path):
        # intel-rapl:0 is a package (AMD's too), intel-rapl:0:0 a part of it.
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        if not self._zones:
            raise FileNotFoundError(f"no energy counters in {root}")
        self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
        self._last = self._values()
        self._sum = 0
        self._lock = threading.Lock()

    def joules(self) -> float | None:
        with self._lock:
            try:
                values = self._values()
            except (OSError, ValueError):
                return None
            for now, last, whole in zip(values, self._last, self._ranges, strict=True):
                self._sum += now - last if now >= last else now + whole - last
            self._last = values
            return self._sum / 1e6

    def _values(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]


def counter_of(devices: Devices) -> EnergyCounter | None:
    """The counter of all devices of a run; None where there is none that may be read."""
    return open_counter(devices.kind, sorted({int(slot.partition(".")[0]) for slot in devices.slots}))


def open_counter(kind: str, boards: Sequence[int] = ()) -> EnergyCounter | None:
    """The counter of some GPUs ("cuda"), or of the processors ("cpu"); None where there is none that may be read."""
    with contextlib.suppress(Exception):  # pynvml's errors are its own, and a missing counter is no error
        counter: EnergyCounter = Boards(boards) if kind == "cuda" else Processors(POWERCAP)
        if kind != "cuda":
            threading.Thread(target=_keep_reading, args=(counter,), daemon=True).start()
        return counter
    return None


def _keep_reading(counter: EnergyCounter) -> None:
    while True:
        time.sleep(READ_SECONDS)
        counter.joules()


class StageMeter:
    """A stage's energy, over all attempts that were resumed.

    Args:
        counter: that no other worker uses; None where there is none.
        share: of stages that run side by side, each one's.
    """

    def __init__(self, counter: EnergyCounter | None = None, share: float = 1.0):
        self._counter, self._share = counter, share
        self._begun = counter.joules() if counter else None
        self._carried: float | None = 0.0

    def carry(self, joules: float | None) -> None:
        """Adds the joules of a checkpoint; None: that attempt was not measured, and so the stage is not."""
        self._carried = joules

    def joules(self) -> float | None:
        now = self._counter.joules() if self._counter else None
        if now is None or self._begun is None or self._carried is None:
            return None
        return self._carried + (now - self._begun) * self._share
