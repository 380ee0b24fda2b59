"""The device: what it is, what it can compute in, and whether compilers and energy counters work."""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import torch
import torchvision

from benchbench.data.jpeg import decoder_problem
from benchbench.doctor.finding import Finding
from benchbench.execution.tf32 import has_tf32
from benchbench.hardware.devices import Devices
from benchbench.hardware.energy import counter_of

SECTION = "device"
GIGABYTE = 2**30
COMPILE_SECONDS = 90
COMPILED = """
import torch
images = torch.ones(64, 64, device="cuda", requires_grad=True)
torch.compile(lambda x: (x * 2 + 1).relu().sum())(images).backward()
torch.cuda.synchronize()
"""


def usable(devices: Devices) -> Finding | None:
    """A problem where the devices are there and this torch cannot use them."""
    if devices.kind != "cuda" or torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        advice = "install a CUDA build: pip install torch torchvision, with the index that pytorch.org names"
        return Finding(SECTION, "GPU", "problem", f"{devices.name} is there, and this torch is built for CPUs", advice)
    text = f"{devices.name} is there, and torch, built for CUDA {torch.version.cuda}, cannot use it"
    advice = "update the driver, or install a torch for an older CUDA; `torch.zeros(1).cuda()` says what is wrong"
    return Finding(SECTION, "GPU", "problem", text, advice)


def look(devices: Devices, device: torch.device) -> Iterator[Finding]:
    """All findings; `device` is the one that networks run on."""
    if device.type == "cuda":
        yield driver()
        for index in range(torch.cuda.device_count()):
            yield graphics_card(index)
    else:
        text = f"{devices.name}; torch uses {torch.get_num_threads()} threads"
        yield Finding(SECTION, "processor", "ok", text)
    yield bfloat16(device)
    if device.type == "cuda":
        yield tensor_float32(device)
        yield jpeg_decoder(device)
    yield compiler(device)
    yield energy(devices)


def driver() -> Finding:
    """Versions of the driver, and of the CUDA that torch brings."""
    version = "not known (no NVML)"
    with contextlib.suppress(Exception):  # NVML's errors are its own
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        version = str(nvml.nvmlSystemGetDriverVersion())
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else "none"
    return Finding(SECTION, "driver", "ok", f"{version}; torch's CUDA {torch.version.cuda}, cuDNN {cudnn}")


def graphics_card(index: int) -> Finding:
    """One GPU, and how much of its memory is free."""
    properties, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
    capability = f"{properties.major}.{properties.minor}"
    text = (
        f"{properties.name}, {free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free, compute capability {capability}"
    )
    name, figures = f"GPU {index}", {"free_gb": free / GIGABYTE, "total_gb": total / GIGABYTE}
    if free < 0.9 * total:
        advice = (
            "another process holds its memory: `nvidia-smi` names it; times that are measured beside it are no good"
        )
        return Finding(SECTION, name, "note", text, advice, figures)
    return Finding(SECTION, name, "ok", text, figures=figures)


def bfloat16(device: torch.device) -> Finding:
    """True where the device computes in bfloat16, and does not only emulate it."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    if native:
        return Finding(SECTION, "bf16", "ok", "computed by the device")
    advice = "leave `precision: auto`, which stays in float32 here; bf16 would be slower"
    return Finding(SECTION, "bf16", "ok" if device.type == "cpu" else "note", "only emulated", advice)


def tensor_float32(device: torch.device) -> Finding:
    """True where convolutions may be rounded to TF32."""
    if has_tf32(device):
        return Finding(SECTION, "TF32", "ok", "for convolutions under `precision: fp32`; `exact` does without")
    return Finding(SECTION, "TF32", "ok", "not on this device: float32 is exact")


def jpeg_decoder(device: torch.device) -> Finding:
    """True where the device decodes JPEG files, for recipes with `decode: gpu`; it is tried."""
    name = "JPEG files"
    problem = decoder_problem(device)
    if problem is None:
        return Finding(SECTION, name, "ok", f"decoded by nvJPEG (torchvision {torchvision.__version__})")
    advice = "`decode: gpu` decodes on the CPU here; a CUDA build of torchvision brings nvJPEG"
    return Finding(SECTION, name, "note", f"not decoded on the device: {problem}", advice)


def compiler(device: torch.device) -> Finding:
    """True where torch.compile works; on a GPU it is tried, in a process of its own."""
    name = "torch.compile"
    if device.type == "cpu":
        found = next((each for each in ("g++", "clang++", "c++") if shutil.which(each)), None)
        text = f"{found} is there; not tried" if found else "no C++ compiler is there"
        advice = "" if found else "suites with `compile: true` fail; the default does without a compiler on a CPU"
        return Finding(SECTION, name, "ok", text, advice)
    begun = time.perf_counter()
    try:
        command = [sys.executable, "-c", COMPILED]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        failure = None if done.returncode == 0 else _last_error(done.stderr) or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"not done in {COMPILE_SECONDS} s"
    seconds = time.perf_counter() - begun
    if failure is None:
        text = f"works; a small function took {seconds:.0f} s with the start of its process"
        return Finding(SECTION, name, "ok", text, figures={"seconds": seconds})
    advice = "runs go on without it; to have it, install gcc, Python's headers and the triton of your torch"
    return Finding(SECTION, name, "note", f"does not work: {failure}", advice)


def _last_error(output: str) -> str:
    """The line of a traceback that names the error; compilers print further help below it."""
    errors = [line for line in output.splitlines() if re.match(r"[\w.]*(Error|Exception|Failed)\b", line)]
    return errors[-1][:200] if errors else ""


def energy(devices: Devices) -> Finding:
    """True where the devices' energy can be measured."""
    counter = counter_of(devices)
    if counter is not None and counter.joules() is not None:
        return Finding(SECTION, "energy", "ok", "measured by the counter of the device")
    if devices.kind == "cuda":
        advice = "install nvidia-ml-py; GPUs before Volta and some virtual ones have no counter"
    else:
        advice = "for energy in the tables, let your user read /sys/class/powercap/intel-rapl:*/energy_uj"
    return Finding(SECTION, "energy", "note", "no counter that may be read: tables show n/a", advice)
