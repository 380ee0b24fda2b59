"""The choice of an execution on a GPU. Times are the test's; on the stub of CUDA, kernels do nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.execution import timing
from benchbench.execution import tune as tuning
from benchbench.execution.agreement import Sample
from benchbench.execution.network import ConfiguredModel, ExecutionConfig, frozen_network
from benchbench.execution.timing import GraphedSteps, step_seconds
from benchbench.execution.tune import TuningConstraints, tune
from benchbench.models.backbone import Backbone, Trunk

pytestmark = pytest.mark.cuda

TRAINED = TuningConstraints(
    trained=True, precision=None, channels_last=None, fold_bn=None, compile=None, steps=0, threads=1
)
FROZEN = replace(TRAINED, trained=False)
DEFAULT = ExecutionConfig("bf16", tf32=True, channels_last=True)


@pytest.fixture
def device() -> torch.device:
    device = torch.device("cuda")
    if torch.cuda.get_device_capability(device) < (8, 0):
        pytest.skip("it has neither bf16 nor TF32")
    return device


@pytest.fixture
def model(device) -> Backbone:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Backbone(Trunk(nn.Sequential(*layers), 8, (0.5,) * 3, (0.2,) * 3), 5).eval().to(device)


@pytest.fixture
def images(device) -> torch.Tensor:
    return torch.rand(16, 3, 8, 8, device=device)


@pytest.fixture
def timed(monkeypatch):
    """Steps take as long as this says by their configuration; each of them runs."""
    configs: dict[object, ExecutionConfig] = {}
    cost = {"of": lambda config: 1.0}
    new_step, graphed = tuning._Tuning._new_step, GraphedSteps.__call__

    def made(self, config, images):
        step = new_step(self, config, images)
        configs[step] = config
        return step

    def captured(self, step):
        replay = graphed(self, step)
        configs[replay] = configs[step]
        return replay

    def seconds(step, device):
        step()
        return cost["of"](configs[step])

    monkeypatch.setattr(tuning._Tuning, "_new_step", made)
    monkeypatch.setattr(GraphedSteps, "__call__", captured)
    monkeypatch.setattr(tuning, "step_seconds", seconds)
    return cost


@pytest.mark.parametrize("constraints", [TRAINED, FROZEN, replace(TRAINED, compile=False)])
def test_the_default_is_bf16_and_channels_last(constraints, model, images, timed):
    assert tune(model, images, constraints)[0] == DEFAULT


SLOWER = [
    (lambda config: config.precision == "bf16", {"precision": "fp32", "channels_last": False}),
    (lambda config: config.channels_last, {"channels_last": False}),
    (lambda config: config.precision == "bf16" or not config.channels_last, {"precision": "fp32"}),
]


@pytest.mark.parametrize(("slower", "changes"), SLOWER)
def test_a_plainer_way_must_be_faster(slower, changes, model, images, timed):
    timed["of"] = lambda config: 1.1 if slower(config) else 1.0
    assert tune(model, images, TRAINED)[0] == replace(DEFAULT, **changes)
    timed["of"] = lambda config: 1.02 if slower(config) else 1.0
    assert tune(model, images, TRAINED)[0] == DEFAULT


FIXED = [
    ({"precision": "fp32"}, {"precision": "fp32", "channels_last": False}),
    ({"channels_last": False}, {"channels_last": False}),
    ({"precision": "bf16", "channels_last": True}, {}),
]


@pytest.mark.parametrize(("constraint", "changes"), FIXED)
def test_a_fixed_choice_is_kept(constraint, changes, model, images, timed):
    assert tune(model, images, replace(TRAINED, **constraint))[0] == replace(DEFAULT, **changes)


@pytest.mark.parametrize(("steps", "gain", "chosen"), [(1000, 0.5, "default"), (1000, 0.01, None), (100, 0.5, None)])
def test_compilation_pays_in_long_runs_alone(steps, gain, chosen, model, images, timed, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda forward, mode, dynamic: forward)
    timed["of"] = lambda config: 1.0 - gain if config.compile else 1.0
    config, seconds = tune(model, images, replace(TRAINED, steps=steps))
    assert config == replace(DEFAULT, compile=chosen)
    assert ("compile" in seconds) is (steps == 1000)


def test_a_step_that_no_graph_can_hold_stays_as_it_is(device, capsys):
    ones = torch.ones(3, device=device)

    def step() -> None:
        ones.sum().item()

    assert GraphedSteps(device)(step) is step
    assert "and not as one CUDA graph" in capsys.readouterr().out
    assert step_seconds(step, device) > 0


def test_steps_that_take_turns_share_a_memory(device):
    first, second = torch.zeros(4, device=device), torch.zeros(4, device=device)
    graphed = GraphedSteps(device)
    steps = [graphed(lambda tensor=tensor: tensor.add_(1)) for tensor in (first, second)]
    for step in (*steps, *steps):
        step()
    torch.cuda.synchronize()
    assert len(graphed._pool.graphs) == 2
    if timing.torch.cuda.get_device_name(device) != "Stub H100":
        assert first.tolist() == second.tolist() == [timing.WARM_UP + 2.0] * 4


def test_tf32_is_set_for_comparisons_alone(model, images, monkeypatch):
    """And what is left of float32 says that it is allowed."""
    seen, forward = [], Backbone.forward

    def watched(self, *args, **kwargs):
        seen.append(torch.backends.cudnn.allow_tf32)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Backbone, "forward", watched)
    network, record = frozen_network(model.freeze(), DEFAULT, Sample(images), 0.5)
    assert set(seen) == {False}
    seen.clear()
    network(images)
    assert seen == [True]
    assert (record.tf32, record.precision) == (True, network.config.precision)


def test_a_compiled_network_is_compared_as_it_is_without_compiling(model, images, monkeypatch):
    """A graph would keep the kernels without TF32."""
    calls = []
    monkeypatch.setattr(
        torch, "compile", lambda forward, mode, dynamic: lambda *args: calls.append(1) or forward(*args)
    )
    config = replace(DEFAULT, compile="default")
    network, _ = frozen_network(model.freeze(), config, Sample(images), 0.5)
    assert calls == []
    assert isinstance(network, ConfiguredModel)
    network(images)
    assert calls == [1]
