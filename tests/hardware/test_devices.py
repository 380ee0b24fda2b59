"""Devices: what nvidia-smi says, what CUDA_VISIBLE_DEVICES leaves, and CPU slots; no GPU is needed to test it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchbench.errors import BenchBenchError
from benchbench.hardware.devices import Devices, find_devices


@pytest.fixture(autouse=True)
def _twelve_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


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
        [("1", ("1",)), ("1,0", ("1", "0")), (" 0 , 1 ", ("0", "1")), ("0,7", ("0",)), ("GPU-bb", ("1",))],
    )
    def test_that_are_visible(self, nvidia_smi, monkeypatch, visible, slots):
        nvidia_smi(TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert find_devices().slots == slots

    def test_none_that_is_visible(self, nvidia_smi, monkeypatch):
        nvidia_smi(TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert find_devices().kind == "cpu"
        with pytest.raises(BenchBenchError, match="device 'cuda' is not there"):
            find_devices("cuda")

    def test_what_no_gpu_answers_to_is_not_taken_for_the_cpu(self, nvidia_smi, monkeypatch):
        nvidia_smi(TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-cc")
        with pytest.raises(BenchBenchError, match=r"MIG-cc names no whole GPU \(0, GPU-aa, 1, GPU-bb\)"):
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
            with pytest.raises(BenchBenchError, match="nvidia-smi finds no GPU here; use --device cpu"):
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


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "auto:0", "cuda:x", "cuda:-1", "", "CUDA", "mps"])
def test_unknown_device(device):
    with pytest.raises(BenchBenchError) as caught:
        find_devices(device)
    assert str(caught.value) == f"unknown device '{device}'; use auto, cpu, cuda or cuda:N"

    def test_more_slots_than_cores_would_count_cores_twice(self):
        with pytest.raises(BenchBenchError, match="--jobs 30 is more than this machine's 12 cores"):
            find_devices("cpu", 30)
