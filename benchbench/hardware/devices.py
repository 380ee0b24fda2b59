"""The devices at hand, listed without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchbench.errors import BenchBenchError, one_line
from benchbench.specs.records import Unit


@dataclass(frozen=True)
class Devices:
    """The devices that stages may run on.

    Attributes:
        kind: "cuda" or "cpu".
        name: the model's name, for tables and for calibrations.
        slots: one entry for each worker that runs side by side: the GPU's number ("0", or "0.1" for its second worker),
            or a slot's number on the CPU.
        threads: CPU threads of each worker.
        sharing: workers on each GPU.
    """

    kind: str
    name: str
    slots: tuple[str, ...]
    threads: int
    sharing: int = 1

    @property
    def num_devices(self) -> float:
        """Devices of one worker, as the ledger counts them: its share of a GPU, or its CPU cores."""
        return 1 / self.sharing if self.kind == "cuda" else self.threads

    @property
    def exclusive(self) -> bool:
        """Sole use of all that an energy counter covers: a board, or the machine's processors."""
        return self.sharing == 1 if self.kind == "cuda" else len(self.slots) == 1

    @property
    def unit(self) -> Unit:
        return "GPU-hours" if self.kind == "cuda" else "CPU-hours"


def find_devices(device: str = "auto", jobs: int | None = None) -> Devices:
    """The devices to use.

    Args:
        device: "auto" (CUDA where there is any), "cpu", "cuda", or "cuda:N".
        jobs: stages side by side; default: one on each GPU, or on the CPU one for each core, at most eight, which share
            the cores evenly.

    Raises:
        BenchBenchError: CUDA is asked for and not there, or the name is unknown.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and (kind != "cuda" or not index.isdigit())):
        raise BenchBenchError(f"unknown device '{device}'; use auto, cpu, cuda or cuda:N")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = _gpus() if kind != "cpu" else {}
    chosen = {index: gpus[index]} if index in gpus else gpus if not index else {}
    if chosen:
        return _gpu_devices(chosen, jobs or 1, cores)
    if kind == "cuda":
        have = f"this machine has cuda:{', cuda:'.join(gpus)}" if gpus else "nvidia-smi finds no GPU here"
        raise BenchBenchError(f"device '{device}' is not there: {have}; use --device cpu")
    if jobs is not None and jobs > cores:
        raise BenchBenchError(f"--jobs {jobs} is more than this machine's {cores} cores")
    count = jobs or min(cores, 8)
    return Devices("cpu", _cpu_name(), tuple(str(slot) for slot in range(count)), max(1, cores // count))


def _gpu_devices(gpus: dict[str, str], sharing: int, cores: int) -> Devices:
    """Slots on GPUs, whose names are by their numbers; `sharing` workers on each."""
    names = sorted(set(gpus.values()))
    slots = [f"{gpu}.{worker}" if worker else gpu for worker in range(sharing) for gpu in gpus]
    return Devices("cuda", " + ".join(names), tuple(slots), max(1, cores // len(slots)), sharing)


def _gpus() -> dict[str, str]:
    """GPU names by number, as CUDA_VISIBLE_DEVICES leaves them."""
    if not shutil.which("nvidia-smi"):
        return {}
    query = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchBenchError(f"nvidia-smi fails ({one_line(error)}); use --device cpu, or mend the driver") from None
    rows = [[part.strip() for part in line.split(",", 2)] for line in lines if line.count(",") >= 2]
    gpus = {index: name for index, _, name in rows}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    by_name = {label: index for index, uuid, _ in rows for label in (index, uuid)}
    names = [part.strip() for part in visible.split(",") if part.strip() not in ("", "-1")]
    chosen = [by_name[name] for name in names if name in by_name]
    if names and not chosen:
        listed = ", ".join(by_name)
        raise BenchBenchError(
            f"CUDA_VISIBLE_DEVICES={visible} names no whole GPU ({listed}); use --device cpu or mend it"
        )
    return {index: gpus[index] for index in chosen}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
