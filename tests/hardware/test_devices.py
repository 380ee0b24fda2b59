"""Devices: what NVML, nvidia-smi or torch lists, what CUDA_VISIBLE_DEVICES leaves, and CPU slots; without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from benchbench.errors import BenchBenchError
from benchbench.hardware import devices as listing
from benchbench.hardware.devices import Devices, find_devices


@pytest.fixture(autouse=True)
def _twelve_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


class NvmlError(Exception):
    pass


class NvmlNotFoundError(NvmlError):
    pass


class Nvml(types.ModuleType):
    """A stand-in for NVML's Python binding on a machine with these GPUs, by UUID; None has no driver library."""

    NVMLError, NVMLError_LibraryNotFound = NvmlError, NvmlNotFoundError

    def __init__(self, gpus: dict[str, str] | None, error: Exception | None = None):
        super().__init__("pynvml")
        self.gpus, self.error, self.open = gpus, error, 0

    def nvmlInit(self):  # noqa: N802 (NVML's name, as those below)
        if self.gpus is None:
            raise NvmlNotFoundError("NVML Shared Library Not Found")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        if self.error:
            raise self.error
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return list(self.gpus)[index]

    def nvmlDeviceGetUUID(self, uuid):  # noqa: N802
        return uuid

    def nvmlDeviceGetName(self, uuid):  # noqa: N802
        return self.gpus[uuid]


@pytest.fixture(autouse=True)
def nvml(monkeypatch):
    """Puts such a stand-in in its place; without a call there is no driver library of any kind."""

    def install(gpus: dict[str, str] | None, error: Exception | None = None) -> Nvml:
        module = Nvml(gpus, error)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        return module

    install(None)
    monkeypatch.setattr(listing, "_has_driver", lambda: False)
    return install


def torch_sees_gpus() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program of that name, with this output and exit code, in the place of the real one."""

    def install(output: str, code: int = 0) -> None:
        path = tmp_path / "bin" / "nvidia-smi"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\nprintf '{output}'\nexit {code}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))

    return install


@pytest.fixture
def no_gpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


TWO = "0, GPU-aa, Big GPU\\n1, GPU-bb, Big GPU\\n"


class TestGpus:
    def test_all_of_them(self, nvidia_smi):
        nvidia_smi(TWO)
        assert find_devices() == find_devices("cuda") == Devices("cuda", "Big GPU", ("0", "1"), 6)

    def test_one(self, nvidia_smi):
        nvidia_smi(TWO)
        assert find_devices("cuda:1") == Devices("cuda", "Big GPU", ("1",), 12)

    def test_of_two_kinds(self, nvidia_smi):
        nvidia_smi("0, GPU-aa, Small GPU\\n1, GPU-bb, Big GPU\\n")
        assert find_devices().name == "Big GPU + Small GPU"

    def test_ten_are_in_the_order_of_the_machine(self, nvidia_smi):
        nvidia_smi("".join(f"{n}, GPU-{n}, GPU\\n" for n in range(11)))
        assert find_devices().slots == tuple(str(n) for n in range(11))

    @pytest.mark.parametrize(
        ("visible", "slots"),
        [
            ("1", ("1",)),
            ("1,0", ("1", "0")),
            (" 0 , 1 ", ("0", "1")),
            ("1,1", ("1",)),
            ("0,7", ("0",)),
            ("0,7,1", ("0",)),  # as CUDA reads it
            ("0,-1,1", ("0",)),
            ("GPU-bb", ("1",)),
            ("GPU-b", ("1",)),
            ("GPU-b,GPU-a", ("1", "0")),
        ],
    )
    def test_that_are_visible(self, nvidia_smi, monkeypatch, visible, slots):
        nvidia_smi(TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert find_devices().slots == slots

    @pytest.mark.parametrize("visible", ["", "-1", "-1,0"])
    def test_none_that_is_visible(self, nvidia_smi, monkeypatch, visible):
        nvidia_smi(TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert find_devices().kind == "cpu"
        with pytest.raises(BenchBenchError, match="device 'cuda' is not there"):
            find_devices("cuda")

    @pytest.mark.parametrize("visible", ["MIG-cc", "GPU-", "GPU-cc", "7", "7,0", "G"])
    def test_what_no_gpu_answers_to_is_not_taken_for_the_cpu(self, nvidia_smi, monkeypatch, visible):
        nvidia_smi(TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(BenchBenchError, match=rf"{visible} names no whole GPU \(0, GPU-aa, 1, GPU-bb\)"):
            find_devices()

    @pytest.mark.usefixtures("no_gpu")
    def test_nvml_lists_them_without_nvidia_smi(self, nvml):
        module = nvml({"GPU-aa": "Big GPU", "GPU-bb": "Big GPU"})
        assert find_devices() == Devices("cuda", "Big GPU", ("0", "1"), 6)
        assert module.open == 0

    def test_nvml_comes_first(self, nvml, nvidia_smi):
        nvml({"GPU-cc": "Small GPU"})
        nvidia_smi(TWO)
        assert find_devices().name == "Small GPU"

    def test_a_library_without_a_gpu_is_believed(self, nvml, nvidia_smi):
        nvml({})
        nvidia_smi(TWO)
        assert find_devices().kind == "cpu"

    def test_a_missing_binding_leaves_it_to_nvidia_smi(self, nvidia_smi, monkeypatch):
        monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
        nvidia_smi(TWO)
        assert find_devices().slots == ("0", "1")

    def test_a_driver_that_fails_is_not_taken_for_the_cpu(self, nvml):
        module = nvml({}, NvmlError("GPU is lost"))
        with pytest.raises(BenchBenchError, match=r"NVML fails \(.*GPU is lost\); use --device cpu, or mend"):
            find_devices()
        assert module.open == 0

    @pytest.mark.usefixtures("no_gpu")
    def test_torch_is_asked_last_with_all_gpus_in_sight(self, monkeypatch):
        asked = []

        def run(command, **options):
            asked.append((command, options["env"]))
            return subprocess.CompletedProcess(command, 0, 'a warning\n[["0", "GPU-aa", "A"], ["1", "GPU-bb", "B"]]\n')

        monkeypatch.setattr(listing, "_has_driver", lambda: True)
        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
        assert find_devices() == Devices("cuda", "B", ("1",), 12)
        ((command, environment),) = asked
        assert command == [sys.executable, "-c", listing.TORCH_QUERY]
        assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        assert "CUDA_VISIBLE_DEVICES" not in environment

    @pytest.mark.whole_run
    @pytest.mark.usefixtures("no_gpu")
    def test_torch_answers(self, monkeypatch):
        """A driver library without a GPU: torch is asked, and sees none."""
        if torch_sees_gpus():
            pytest.skip("there is a GPU")
        monkeypatch.setattr(listing, "_has_driver", lambda: True)
        assert find_devices().kind == "cpu"

    @pytest.mark.usefixtures("no_gpu")
    def test_a_torch_that_fails_is_not_taken_for_the_cpu(self, monkeypatch):
        monkeypatch.setattr(listing, "_has_driver", lambda: True)
        monkeypatch.setattr(listing, "TORCH_QUERY", "raise SystemExit(3)")
        with pytest.raises(BenchBenchError, match=r"torch fails \(.*exit status 3.*\); use --device cpu"):
            find_devices()

    def test_the_cpu_all_the_same(self, nvidia_smi):
        nvidia_smi(TWO)
        assert find_devices("cpu").kind == "cpu"

    def test_absent_number_names_those_that_are_there(self, nvidia_smi):
        nvidia_smi(TWO)
        with pytest.raises(BenchBenchError, match=r"'cuda:5' is not there: this machine has cuda:0, cuda:1; use"):
            find_devices("cuda:5")

    @pytest.mark.usefixtures("no_gpu")
    def test_none_at_all(self):
        assert find_devices().kind == "cpu"
        for device in ("cuda", "cuda:0"):
            with pytest.raises(BenchBenchError, match="no GPU is found here; use --device cpu"):
                find_devices(device)

    def test_broken_driver_is_an_error_where_a_gpu_may_be_meant(self, nvidia_smi):
        nvidia_smi("", code=9)
        for device in ("auto", "cuda"):
            with pytest.raises(BenchBenchError, match=r"nvidia-smi fails .*use --device cpu"):
                find_devices(device)
        assert find_devices("cpu").kind == "cpu"

    def test_may_be_shared(self, nvidia_smi):
        nvidia_smi(TWO)
        devices = find_devices(jobs=2)
        assert devices.slots == ("0", "1", "0.1", "1.1")
        assert devices.num_devices == 0.5

    def test_hold_one_device_a_slot(self):
        assert Devices("cuda", "GPU", ("0", "1"), 6).num_devices == 1
        assert Devices("cuda", "GPU", ("0",), 6).unit == "GPU-hours"


@pytest.mark.usefixtures("no_gpu")
class TestCpu:
    @pytest.mark.parametrize(
        ("jobs", "slots", "threads"),
        [(None, 8, 1), (1, 1, 12), (3, 3, 4), (5, 5, 2), (12, 12, 1)],
    )
    def test_slots_share_the_cores(self, jobs, slots, threads):
        devices = find_devices("cpu", jobs)
        assert (len(devices.slots), devices.threads, devices.num_devices) == (slots, threads, threads)
        assert len(set(devices.slots)) == slots
        assert devices.unit == "CPU-hours"

    def test_a_small_machine(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
        assert (find_devices().slots, find_devices().threads) == (("0",), 1)

    def test_has_a_name(self):
        assert find_devices("cpu").name.strip()

    def test_name_without_proc(self, monkeypatch):
        def fail(self, *args, **kwargs):
            raise OSError

        monkeypatch.setattr(Path, "read_text", fail)
        assert find_devices("cpu").name


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "auto:0", "cuda:x", "cuda:-1", "", "CUDA", "mps:0"])
def test_unknown_device(device):
    with pytest.raises(BenchBenchError) as caught:
        find_devices(device)
    assert str(caught.value) == f"unknown device '{device}'; use auto, cpu, cuda, cuda:N or mps"

    def test_more_slots_than_cores_would_count_cores_twice(self):
        with pytest.raises(BenchBenchError, match="--jobs 30 is more than this machine's 12 cores"):
            find_devices("cpu", 30)


class TestGranted:
    """Cores and devices that a cluster's executor grants a process."""

    def test_cores(self, no_gpu, monkeypatch):
        monkeypatch.setenv(listing.CORES_VARIABLE, "4")
        assert (len(find_devices().slots), find_devices("cpu", 1).threads) == (4, 4)
        monkeypatch.setenv(listing.CORES_VARIABLE, "400")
        assert find_devices("cpu", 1).threads == 12

    def test_a_share_of_a_gpu(self, nvidia_smi, monkeypatch):
        nvidia_smi("0, GPU-aa, Big GPU\\n")
        monkeypatch.setenv(listing.SHARE_VARIABLE, "0.5")
        devices = find_devices()
        assert (devices.slots, devices.num_devices, devices.exclusive) == (("0",), 0.5, False)


def test_the_gpu_of_a_mac(monkeypatch):
    with pytest.raises(BenchBenchError, match="it is the GPU of a Mac with Apple silicon"):
        find_devices("mps")
    monkeypatch.setattr(listing.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(listing.platform, "machine", lambda: "arm64")
    devices = find_devices("mps", 2)
    assert (devices.kind, devices.slots, devices.threads) == ("mps", ("0", "0.1"), 6)
    assert (devices.unit, devices.num_devices, devices.exclusive) == ("GPU-hours", 0.5, False)
