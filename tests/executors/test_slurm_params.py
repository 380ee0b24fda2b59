"""Parameters of the executor `slurm`: times, GPUs, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from benchbench.errors import BenchBenchError
from benchbench.executors.base import DeviceRequest
from benchbench.executors.pilots import EngineError, RememberedDevices, WorkOrder, remember_devices
from benchbench.executors.slurm import SlurmExecutor
from benchbench.executors.slurm_params import SlurmParams, time_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:15", 1815),
        ("4:00:00", 4 * 3600),
        ("1-12", 36 * 3600),
        ("2-0:30", 48 * 3600 + 1800),
        ("1-00:00:05", 86405),
        ("soon", None),
        ("4h", None),
        ("", None),
    ],
)
def test_times(text, seconds):
    assert time_seconds(text) == seconds


@pytest.mark.parametrize(
    ("gres", "count", "kind"),
    [
        ("gpu:1", 1, ""),
        ("gpu", 1, ""),
        ("gpu:a100:2", 2, "a100"),
        ("gpu:a100", 1, "a100"),
        ("nvme:1,gpu:2", 2, ""),
        ("gres/gpu:2", 2, ""),
        ("nvme:4", 0, ""),
        (None, 0, ""),
    ],
)
def test_gpus(gres, count, kind):
    params = SlurmParams(gres=gres)
    assert (params.gpus, params.gpu_type) == (count, kind)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time": "soon"}, "write a time as sbatch takes it"),
        ({"time": 0}, "write a time as sbatch takes it"),
        ({"time": "1:30"}, "leaves none to work"),
        ({"jobs": 0}, "greater than or equal to 1"),
        ({"partitoin": "gpu"}, "Extra inputs"),
    ],
)
def test_what_cannot_be(values, message):
    with pytest.raises(ValidationError, match=message):
        SlurmParams(**values)


def test_options_of_sbatch():
    params = SlurmParams(partition="gpu", time=240, cpus=4, mem="32G", options=("--exclude=n3",))
    options = ["--partition=gpu", "--time=240", "--cpus-per-task=4", "--mem=32G", "--exclude=n3"]
    assert params.sbatch_options() == options
    assert SlurmParams().sbatch_options() == []


def test_numbers_in_place_of_names():
    params = SlurmParams(partition=1, account=12345, qos=2, constraint=3)
    assert params.sbatch_options() == ["--partition=1", "--account=12345", "--qos=2", "--constraint=3"]


class TestDevices:
    """Known without a cluster: `plan` works on any machine."""

    def test_of_a_gpu(self):
        devices = SlurmExecutor.find_devices(DeviceRequest(params=SlurmParams(gres="gpu:a100:2", jobs=3)))
        assert (devices.kind, devices.name, devices.slots) == ("cuda", "a100 of slurm", tuple("012345"))

    def test_one_stage_has_those_of_one_job(self):
        params = SlurmParams(gres="gpu:2", jobs=2)
        devices = SlurmExecutor.find_devices(DeviceRequest(jobs=2, params=params))
        assert devices.slots == ("0", "1", "0.1", "1.1", "2", "3", "2.1", "3.1")
        assert (devices.most_together, devices.num_devices) == (2, 0.5)
        assert devices.together(["1", "0.1", "2"], 2) == ["1", "0.1"]
        assert devices.together(["1", "2"], 2) == []

    def test_of_the_cpu(self):
        devices = SlurmExecutor.find_devices(DeviceRequest(params=SlurmParams(cpus=4, jobs=2)))
        assert (devices.kind, devices.name, len(devices.slots), devices.threads) == ("cpu", "CPU of slurm", 8, 1)
        devices = SlurmExecutor.find_devices(DeviceRequest(jobs=1, params=SlurmParams(cpus=4, jobs=2)))
        assert (len(devices.slots), devices.threads) == (2, 4)

    def test_a_name_that_is_given(self):
        params = SlurmParams(gres="gpu:1", device_name="NVIDIA A100")
        assert SlurmExecutor.find_devices(DeviceRequest(params=params)).name == "NVIDIA A100"

    def test_those_of_the_last_job_are_remembered(self, tmp_path: Path):
        params = SlurmParams(partition="gpu", gres="gpu:1", jobs=2, time=60)
        remember_devices(tmp_path, params.demand, RememberedDevices("NVIDIA H100", 8))
        devices = SlurmExecutor.find_devices(DeviceRequest(params=params, store=tmp_path))
        assert (devices.name, devices.threads) == ("NVIDIA H100", 8)
        longer = params.model_copy(update={"time": "120", "jobs": 8})
        assert SlurmExecutor.find_devices(DeviceRequest(params=longer, store=tmp_path)).name == "NVIDIA H100"
        other = params.model_copy(update={"partition": "old"})
        assert SlurmExecutor.find_devices(DeviceRequest(params=other, store=tmp_path)).name == "GPU of slurm"

    def test_cuda_without_a_gpu(self):
        with pytest.raises(BenchBenchError, match=r"--device cuda needs a GPU in each job, as in gres: gpu:1"):
            SlurmExecutor.find_devices(DeviceRequest("cuda", params=SlurmParams()))


def test_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"^executor 'slurm': there is no sbatch on this machine; start the run on a"):
        SlurmExecutor(WorkOrder(tmp_path, (), SlurmParams()))


def test_an_answer_in_many_lines_is_one(tmp_path, monkeypatch):
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'squeue: error: first' >&2; echo 'squeue: fatal: second' >&2; exit 1\n")
    program.chmod(0o755)
    (tmp_path / "sbatch").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"^executor 'slurm': squeue: first; second$"):
        SlurmExecutor(WorkOrder(tmp_path, (), SlurmParams()))
