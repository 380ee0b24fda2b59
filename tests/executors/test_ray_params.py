"""The executor `ray` as far as it goes without Ray: parameters, devices, and what is said where there is none."""

from __future__ import annotations

import sys

import pytest

from benchbench.errors import BenchBenchError
from benchbench.executors.base import DeviceRequest
from benchbench.executors.pilots import EngineError, WorkOrder
from benchbench.executors.ray import RayExecutor, _Actor, _death, _fits
from benchbench.executors.ray_params import RayParams


def test_amounts_by_the_names_of_ray():
    assert RayParams().amounts() == {"CPU": 1.0}
    params = RayParams(gpus=0.5, cpus=4, memory_gb=2, resources={"a100": 1})
    assert params.amounts() == {"CPU": 4.0, "GPU": 0.5, "memory": 2e9, "a100": 1}


@pytest.mark.parametrize(
    ("params", "request_", "expected"),
    [
        ({"cpus": 4, "jobs": 2}, {}, ("cpu", "CPU of ray", 8, 1)),
        ({"cpus": 4, "jobs": 2}, {"jobs": 1}, ("cpu", "CPU of ray", 2, 4)),
        ({"gpus": 2, "jobs": 3}, {}, ("cuda", "GPU of ray", 6, 1)),
        ({"gpus": 0.5, "jobs": 2, "device_name": "H100"}, {}, ("cuda", "H100", 2, 0.5)),
        ({"gpus": 1, "jobs": 1}, {"jobs": 4}, ("cuda", "GPU of ray", 4, 0.25)),
    ],
)
def test_devices_are_known_without_a_cluster(params, request_, expected):
    devices = RayExecutor.find_devices(DeviceRequest(params=RayParams(**params), **request_))
    assert (devices.kind, devices.name, len(devices.slots), devices.num_devices) == expected


def test_cuda_without_a_gpu():
    with pytest.raises(BenchBenchError, match=r"--device cuda needs a GPU for each worker, as in gpus: 1"):
        RayExecutor.find_devices(DeviceRequest("cuda", params=RayParams()))


def test_without_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails
    with pytest.raises(EngineError, match=r"^executor 'ray' needs Ray: pip install 'benchbench\[ray\]'$"):
        RayExecutor(WorkOrder(tmp_path, (), RayParams()))


NODE = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: PilotActor\n\tactor_id: 32f1\n\tpid: 812\n"
    "The actor died because its node has died. Node Id: a0c8dd6618aaa3376b02178606bc64899b6db85c1921c8292d57e254\n"
)
CREATION = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::PilotActor.__init__()\x1b[39m\n"
    "  File ...\nModuleNotFoundError: No module named 'benchbench'\n"
)
KILLED = "The actor died unexpectedly before finishing this task.\n\tclass_name: PilotActor\n"


@pytest.mark.parametrize(
    ("text", "host", "reason"),
    [
        (NODE, "n1", "its node n1 died"),
        (NODE, "", "its node died"),
        (CREATION, "", "its actor died (ModuleNotFoundError: No module named 'benchbench'; see LOG)"),
        (KILLED, "n1", "its actor on n1 died (The actor died unexpectedly before finishing this task.; see LOG)"),
        ("", "", "its actor died (Ray says no more; see LOG)"),
    ],
)
def test_why_an_actor_died(text, host, reason):
    """Ray 2.60 has paragraphs for it."""
    assert _death(text, _Actor("ray-1", None, None, None, "LOG", host)) == reason


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({"CPU": 8.0, "GPU": 2.0, "node:127.0.0.3": 1.0}, 4),
        ({"CPU": 3.0, "GPU": 2.0}, 3),
        ({"CPU": 8.0}, 0),
        ({"GPU": 2.0}, 0),
    ],
)
def test_how_often_a_demand_fits_into_a_node(resources, count):
    assert _fits(resources, RayParams(gpus=0.5).amounts()) == count
