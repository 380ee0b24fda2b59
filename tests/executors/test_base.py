"""Records between runner, executor and worker: the same after a journey as JSON, and settings of each slot."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.errors import BenchBenchError
from benchbench.executors.base import (
    ASSIGNMENTS,
    EVENT,
    WORKER_SETTINGS,
    Assignment,
    DeviceRequest,
    Event,
    Executor,
    RunSettings,
    worker_settings,
)
from benchbench.hardware.devices import Devices
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.specs.records import Progress
from tests.specs import SMALL, outputs_spec, training_spec

SETTINGS = RunSettings(Path("/runs"), (Path("/plugin.py"),), Path("/data"), 30.0, "abc")


def test_assignments():
    weights = WeightsSpec(file=FileSpec(path="/home/w.pth", content="ab"))
    spec = training_spec(model=SMALL.model_copy(update={"weights": weights}))
    stages = [
        Assignment("k1", "a cell", spec, {"teacher0": ("teacher", "k3")}),
        Assignment("k2", "outputs", outputs_spec(), {}),
    ]
    assert ASSIGNMENTS.validate_json(ASSIGNMENTS.dump_json(stages, by_alias=True)) == stages
    assert [stage.kind for stage in stages] == ["cell", "outputs"]


@pytest.mark.parametrize(
    "event",
    [
        Event("started", "k", "0"),
        Event("progress", "k", "0.1", progress=Progress(done=0.1, total=0.3, epoch=1, epochs=2, loss=1e-17)),
        Event("finished", "k", "0", recorded_seconds=0.1, worked_seconds=1 / 3),
        Event("died", "k", "0", reason="no\nmemory"),
    ],
)
def test_events(event):
    line = EVENT.dump_json(event)
    assert b"\n" not in line
    assert EVENT.validate_json(line) == event


@pytest.mark.parametrize(
    ("devices", "slot", "expected"),
    [
        (Devices("cpu", "a processor", ("0", "1"), 2), "1", ("cpu", 2, 2, "CPU-hours", False, None)),
        (Devices("cpu", "a processor", ("0",), 4), "0", ("cpu", 4, 4, "CPU-hours", True, None)),
        (Devices("cuda", "a board", ("0", "3"), 2), "3", ("cuda", 2, 1, "GPU-hours", True, 3)),
        (Devices("cuda", "a board", ("2", "2.1"), 1, 2), "2.1", ("cuda", 1, 0.5, "GPU-hours", False, 2)),
    ],
)
def test_settings_of_a_worker(devices, slot, expected):
    settings = worker_settings(SETTINGS, devices, slot)
    device, threads, num_devices, unit, exclusive, board = expected
    assert (settings.slot, settings.device, settings.device_name) == (slot, device, devices.name)
    assert (settings.threads, settings.num_devices, settings.unit) == (threads, num_devices, unit)
    assert (settings.exclusive, settings.board) == (exclusive, board)
    assert (settings.store, settings.plugins, settings.commit) == (Path("/runs"), (Path("/plugin.py"),), "abc")
    assert WORKER_SETTINGS.validate_json(WORKER_SETTINGS.dump_json(settings)) == settings


def test_devices_are_those_of_this_machine_unless_an_executor_has_others():
    assert Executor.find_devices(DeviceRequest("cpu", 1)).slots == ("0",)
    with pytest.raises(BenchBenchError, match="unknown device 'tpu'"):
        Executor.find_devices(DeviceRequest("tpu"))
