"""The devices at hand, found without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchbench.errors import BenchBenchError, one_line


@dataclass(frozen=True)
class Devices:
    """What stages may run on.

    Attributes:
        kind: "cuda" or "cpu".
        name: the model's name, for tables and for calibrations.
        slots: one entry a worker that runs side by side: the GPU's number ("0", or "0.1" for its second worker), or a
            slot's number on the CPU.
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
        """Devices that one worker holds, as the ledger counts them: its share of a GPU, or its CPU cores."""
        return 1 / self.sharing if self.kind == "cuda" else self.threads

    @property
    def exclusive(self) -> bool:
        """Whether a worker has for itself what an energy counter covers: a board, or the machine's processors."""
        return self.sharing == 1 if self.kind == "cuda" else len(self.slots) == 1

    @property
    def unit(self) -> str:
        return "GPU-hours" if self.kind == "cuda" else "CPU-hours"


def find_devices(device: str = "auto", jobs: int | None = None) -> Devices:
    """The devices to use.

    Args:
        device: "auto" (CUDA where there is any), "cpu", "cuda", or "cuda:N".
        jobs: stages side by side; default: one on each GPU, or on the CPU one a core, at most eight, which share the
            cores evenly.

    Raises:
        BenchBenchError: CUDA is asked for and not there, or the name is unknown.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        raise BenchBenchError(f"unknown device '{device}'; use auto, cpu, cuda or cuda:N")
    if kind != "cpu":
        gpus = _gpus()
        chosen = {number: gpus[number]} if number in gpus else gpus if not number else {}
        if chosen:
            names = sorted(set(chosen.values()))
            sharing = jobs or 1
            slots = [f"{gpu}.{worker}" if worker else gpu for worker in range(sharing) for gpu in chosen]
            return Devices("cuda", " + ".join(names), tuple(slots), max(1, cores // len(slots)), sharing)
        if kind == "cuda":
            have = f"this machine has cuda:{', cuda:'.join(gpus)}" if gpus else "nvidia-smi finds no GPU here"
            raise BenchBenchError(f"device '{device}' is not there: {have}; use --device cpu")
    if jobs is not None and jobs > cores:
        raise BenchBenchError(f"--jobs {jobs} is more than this machine's {cores} cores")
    count = jobs or min(cores, 8)
    return Devices("cpu", _cpu_name(), tuple(str(slot) for slot in range(count)), max(1, cores // count))


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
    gpus = {number: name for number, _, name in rows}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    by_name = {label: number for number, uuid, _ in rows for label in (number, uuid)}
    wanted = [part.strip() for part in visible.split(",") if part.strip() not in ("", "-1")]
    chosen = [by_name[part] for part in wanted if part in by_name]
    if wanted and not chosen:
        known = ", ".join(by_name)
        raise BenchBenchError(
            f"CUDA_VISIBLE_DEVICES={visible} names no whole GPU ({known}); use --device cpu or mend it"
        )
    return {number: gpus[number] for number in chosen}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
