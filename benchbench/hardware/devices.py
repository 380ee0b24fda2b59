"""The devices at hand, listed without torch."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchbench.errors import BenchBenchError, one_line
from benchbench.specs.records import Unit

# By which a cluster's executor tells a process how many cores it has, which part of a GPU (0.5, say), and when it was
# asked for and when it got them, in seconds since the epoch.
CORES_VARIABLE, SHARE_VARIABLE = "BENCHBENCH_CORES", "BENCHBENCH_GPU_SHARE"
SUBMITTED_VARIABLE, GRANTED_VARIABLE = "BENCHBENCH_SUBMITTED", "BENCHBENCH_GRANTED"


@dataclass(frozen=True)
class Devices:
    """The devices that stages may run on.

    Attributes:
        kind: "cuda", "mps" (Apple's) or "cpu".
        name: the model's name, for tables and for calibrations.
        slots: one entry for each worker that runs side by side: the GPU's number ("0", or "0.1" for its second worker),
            or a slot's number on the CPU.
        threads: CPU threads of each worker.
        sharing: workers on each GPU.
        models: name of each slot's GPU, where there are several kinds; slots of different jobs of a cluster are too.
    """

    kind: str
    name: str
    slots: tuple[str, ...]
    threads: int
    sharing: int = 1
    models: tuple[str, ...] = ()

    def together(self, free: Sequence[str], count: int) -> list[str]:
        """Slots of which one stage may hold `count`: the first free ones on different devices of one kind, or none."""
        return next((slots[:count] for slots in self._kinds(free) if len(slots) >= count), [])

    @property
    def most_together(self) -> int:
        """Most devices that one stage can have."""
        return max(map(len, self._kinds(self.slots)), default=0)

    def _kinds(self, free: Sequence[str]) -> list[list[str]]:
        """For each kind of device the first free slot of each."""
        models = dict(zip(self.slots, self.models, strict=True)) if self.models else {}
        kinds: dict[str, dict[str, str]] = {}
        for slot in free:
            kinds.setdefault(models.get(slot, self.name), {}).setdefault(slot.partition(".")[0], slot)
        return [list(slots.values()) for slots in kinds.values()]

    @property
    def num_devices(self) -> float:
        """Devices of one worker, as the ledger counts them: its share of a GPU, or its CPU cores."""
        return self.threads if self.kind == "cpu" else 1 / self.sharing

    @property
    def exclusive(self) -> bool:
        """Sole use of all that an energy counter covers: a board, or the machine's processors."""
        return len(self.slots) == 1 if self.kind == "cpu" else self.sharing == 1

    @property
    def unit(self) -> Unit:
        return "CPU-hours" if self.kind == "cpu" else "GPU-hours"


def find_devices(device: str = "auto", jobs: int | None = None) -> Devices:
    """The devices to use.

    Args:
        device: "auto" (CUDA where there is any), "cpu", "cuda", "cuda:N", or "mps".
        jobs: stages side by side; default: one on each GPU, or on the CPU one for each core, at most eight, which share
            the cores evenly.

    Raises:
        BenchBenchError: a GPU is asked for and not there, or the name is unknown.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        raise BenchBenchError(f"unknown device '{device}'; use auto, cpu, cuda, cuda:N or mps")
    cores = _cores()
    if kind == "mps":
        return _apple_gpu(jobs or 1, cores)
    gpus = _gpus() if kind != "cpu" else {}
    chosen = {index: gpus[index]} if index in gpus else gpus if not index else {}
    if chosen:
        whole = _gpu_devices(chosen, jobs or 1, cores)
        return replace(whole, sharing=whole.sharing * _sharing_processes())
    if kind == "cuda":
        have = f"this machine has cuda:{', cuda:'.join(gpus)}" if gpus else "no GPU is found here"
        raise BenchBenchError(f"device '{device}' is not there: {have}; use --device cpu")
    if jobs is not None and jobs > cores:
        raise BenchBenchError(f"--jobs {jobs} is more than this machine's {cores} cores")
    count = jobs or min(cores, 8)
    return Devices("cpu", _cpu_name(), tuple(str(slot) for slot in range(count)), max(1, cores // count))


def _cores() -> int:
    """CPU cores of this process: a cluster may grant fewer than it lets it see."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get(CORES_VARIABLE, "")
    return min(cores, max(1, int(granted))) if granted.isdigit() else cores


def _sharing_processes() -> int:
    """Processes like this one that a cluster lets share each GPU."""
    return max(1, round(1 / float(os.environ.get(SHARE_VARIABLE) or 1)))


def _gpu_devices(gpus: dict[str, str], sharing: int, cores: int) -> Devices:
    """Slots on GPUs, whose names are by their numbers; `sharing` workers on each."""
    names = sorted(set(gpus.values()))
    slots = [f"{gpu}.{worker}" if worker else gpu for worker in range(sharing) for gpu in gpus]
    models = tuple(gpus.values()) * sharing if len(names) > 1 else ()
    return Devices("cuda", " + ".join(names), tuple(slots), max(1, cores // len(slots)), sharing, models)


def _apple_gpu(sharing: int, cores: int) -> Devices:
    """The GPU of a Mac with Apple silicon, which has one.

    Raises:
        BenchBenchError: this is no such machine.
    """
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        raise BenchBenchError("device 'mps' is not there: it is the GPU of a Mac with Apple silicon; use --device cpu")
    slots = tuple(f"0.{worker}" if worker else "0" for worker in range(sharing))
    return Devices("mps", f"GPU of {_cpu_name()}", slots, max(1, cores // sharing), sharing)


class _Gpu(NamedTuple):
    """A GPU of this machine: its number by bus, as nvidia-smi counts, its UUID ("GPU-..."), and its model's name."""

    number: str
    uuid: str
    name: str


def _gpus() -> dict[str, str]:
    """GPU names by number, as CUDA_VISIBLE_DEVICES leaves them."""
    gpus = _all_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and gpus:
        gpus = _visible(gpus, visible)
    return {gpu.number: gpu.name for gpu in gpus}


def _all_gpus() -> list[_Gpu]:
    """This machine's GPUs: by NVML, without its library by nvidia-smi, without that program by torch."""
    for ask in (_ask_nvml, _ask_nvidia_smi, _ask_torch):
        gpus = ask()
        if gpus is not None:
            return gpus
    return []


def _visible(gpus: Sequence[_Gpu], visible: str) -> list[_Gpu]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names, in its order.

    As CUDA reads it: a GPU's number, its UUID, or a beginning of that which no other one has; the first name that is
    no GPU's ends the list.
    """
    names = [name.strip() for name in visible.split(",")]
    if names[0] in ("", "-1"):
        return []
    chosen: list[_Gpu] = []
    for name in names:
        named = [gpu for gpu in gpus if name == gpu.number or (name.startswith("GPU-") and gpu.uuid.startswith(name))]
        if len(named) != 1:
            break
        chosen += [gpu for gpu in named if gpu not in chosen]
    if not chosen:
        listed = ", ".join(label for gpu in gpus for label in (gpu.number, gpu.uuid))
        raise BenchBenchError(
            f"CUDA_VISIBLE_DEVICES={visible} names no whole GPU ({listed}); use --device cpu or mend it"
        )
    return chosen


def _ask_nvml() -> list[_Gpu] | None:
    """The GPUs that the driver's own library lists; None without that library."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except ImportError:
        return None
    except nvml.NVMLError_LibraryNotFound:
        return None
    except nvml.NVMLError as error:
        raise _broken("NVML", error) from None
    try:
        boards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return [
            _Gpu(str(index), nvml.nvmlDeviceGetUUID(board), nvml.nvmlDeviceGetName(board))
            for index, board in enumerate(boards)
        ]
    except nvml.NVMLError as error:
        raise _broken("NVML", error) from None
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _ask_nvidia_smi() -> list[_Gpu] | None:
    """The GPUs that nvidia-smi lists; None where there is no such program."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        raise _broken("nvidia-smi", error) from None
    return [_Gpu(*(part.strip() for part in line.split(",", 2))) for line in lines if line.count(",") >= 2]


TORCH_QUERY = """
import json, torch
gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
print(json.dumps([[str(index), f"GPU-{getattr(gpu, 'uuid', index)}", gpu.name] for index, gpu in enumerate(gpus)]))
"""


def _ask_torch() -> list[_Gpu] | None:
    """The GPUs that torch lists; None without CUDA's driver.

    In a process of its own: torch takes seconds to import, and a process that has called CUDA cannot be forked.
    """
    if not _has_driver():
        return None
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    query = [sys.executable, "-c", TORCH_QUERY]
    try:
        answer = subprocess.run(
            query,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env=environment | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise _broken("torch", error) from None
    return [_Gpu(*row) for row in json.loads(answer.splitlines()[-1])]


def _has_driver() -> bool:
    """True where CUDA's driver can be loaded, which torch cannot use a GPU without."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        return True
    return False


def _broken(source: str, error: Exception) -> BenchBenchError:
    return BenchBenchError(f"{source} fails ({one_line(error)}); use --device cpu, or mend the driver")


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
