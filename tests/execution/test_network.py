"""Frozen networks run as fast as their outputs allow; how far outputs have moved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.execution.network import ROUNDING, ConfiguredModel, ExecutionConfig, deviation, frozen_network
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.outputs import Outputs
from benchbench.specs.records import ExecutionRecord

CPU = torch.device("cpu")
FAST = ExecutionConfig(precision="bf16", channels_last=True, fold_bn=True)


@pytest.fixture
def model() -> Backbone:
    """With batch statistics that are not the usual zeros and ones."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )

    def with_features(images):
        maps = module[:3](images)
        return module[3:](maps), [maps]

    backbone = Backbone(Trunk(module, 8, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), with_features=with_features), 5)
    for _ in range(3):
        backbone(torch.rand(4, 3, 12, 12))
    return backbone.freeze()


@pytest.fixture
def sample() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(16, 3, 12, 12)


def outputs(logits=None, embedding=None, features=(), token=None) -> Outputs:
    embedding = torch.tensor([[1.0, 2.0], [3.0, 5.0]]) if embedding is None else embedding
    return Outputs(logits, embedding, list(features), token)


def test_the_deviation_is_relative_to_the_spread():
    expected = torch.tensor([[1000.0, 1.0], [1000.0, 4.0]])  # deviates from its mean by 1.5 twice
    actual = expected + torch.tensor([[0.3, 0.0], [0.0, 0.4]])
    spread = (2 * 1.5**2) ** 0.5
    assert deviation(outputs(expected), outputs(expected)) == 0
    assert deviation(outputs(actual), outputs(expected)) == pytest.approx(0.5 / spread, rel=1e-4)


@pytest.mark.parametrize("part", ["logits", "embedding", "features", "token"])
def test_the_largest_deviation_counts_wherever_it_is(part):
    values = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    plain = {"logits": values, "embedding": values, "features": [values, values], "token": values}
    moved = values + torch.tensor([[0.1, 0.0], [0.0, 0.0]])
    other = plain | {part: [values, moved] if part == "features" else moved}
    spread = float((values - values.mean(0)).norm())
    assert deviation(outputs(**other), outputs(**plain)) == pytest.approx(0.1 / spread, rel=1e-4)


def test_where_nothing_spreads_the_values_themselves_count():
    expected = torch.full((2, 2), 3.0)
    assert deviation(outputs(expected + 0.3), outputs(expected)) == pytest.approx(0.1, rel=1e-4)
    assert deviation(outputs(torch.full((2, 2), 0.5)), outputs(torch.zeros(2, 2))) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_has_moved_infinitely_far(value, side):
    sides = [torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, 2.0], [3.0, 5.0]])]
    sides[side][0, 0] = value
    assert deviation(*(outputs(each) for each in sides)) == float("inf")


def test_a_part_that_one_of_them_lacks_does_not_count():
    assert deviation(outputs(None), outputs(torch.ones(2, 2))) == 0


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("tolerance", [1e-9, 0.5])
@pytest.mark.parametrize("config", [ExecutionConfig(), FAST, replace(FAST, precision="fp32")])
@torch.no_grad()
def test_the_model_stays_as_it_is(config, tolerance, model, sample):
    before, expected = state(model), model(sample).logits
    frozen_network(model, config, sample, tolerance)
    actual = state(model)
    assert list(actual) == list(before)
    assert all(torch.equal(actual[name], before[name]) for name in before)
    assert torch.equal(model(sample).logits, expected)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.trunk[0].weight.is_contiguous()


@torch.no_grad()
def test_what_stays_within_the_tolerance_is_taken(model, sample):
    network, record = frozen_network(model, FAST, sample, 0.5)
    moved = deviation(network(sample), model(sample))
    assert record == FAST.record(deviation=moved)
    assert 0 < moved < 0.5
    assert network.config == FAST


@torch.no_grad()
def test_low_precision_that_moves_too_far_is_refused(model, sample):
    network, record = frozen_network(model, FAST, sample, 1e-9)
    assert network.config == replace(FAST, precision="fp32")
    assert list(record.refused) == ["bf16"]
    assert record.refused["bf16"] > 1e-9
    assert (record.precision, record.fold_bn, record.channels_last) == ("fp32", True, True)
    assert record.deviation == deviation(network(sample), model(sample)) < ROUNDING


@torch.no_grad()
def test_whatever_moves_the_outputs_the_plain_network_is_left(model, sample, monkeypatch):
    monkeypatch.setattr("benchbench.execution.network.deviation", lambda actual, expected: 7.0)
    network, record = frozen_network(model, replace(FAST, threads=1), sample, 0.5)
    assert network.config == ExecutionConfig(threads=1)
    assert record.refused == {"bf16": 7.0, "without low precision": 7.0, "without folding": 7.0}
    assert record.deviation == 0
    assert torch.equal(network(sample).logits, model(sample).logits)


@torch.no_grad()
def test_maps_count_where_they_are_asked_for(model, sample):
    """A network whose maps alone suffer."""
    dtypes = []

    def with_features(images):
        maps = model.trunk[:3](images)
        embedding = model.trunk[3:](maps)
        if torch.is_autocast_enabled("cpu"):
            dtypes.append(maps.dtype)
            maps = maps * 2
        return embedding, [maps]

    model._with_features = with_features
    config = ExecutionConfig(precision="bf16")
    assert frozen_network(model, config, sample, 0.5)[0].config == config
    network, record = frozen_network(model, config, sample, 0.5, features=True)
    assert network.config == ExecutionConfig()
    assert record.refused["bf16"] > 0.5
    assert dtypes == [torch.bfloat16]


@torch.no_grad()
def test_outputs_of_low_precision_are_widened(model, sample):
    config, kinds = ExecutionConfig(precision="bf16"), []
    model.trunk[0].register_forward_hook(lambda _part, _given, out: kinds.append(out.dtype))
    network, _ = frozen_network(model, config, sample, 0.5, features=True)
    kinds.clear()
    actual = network(sample, True)
    assert kinds == [torch.bfloat16]
    assert {each.dtype for each in (actual.logits, actual.embedding, *actual.features)} == {torch.float32}
    assert ConfiguredModel(model, config, CPU)(sample).logits.dtype == torch.bfloat16
    token = Outputs(actual.logits.bfloat16(), actual.embedding, [], actual.logits.bfloat16())

    class Says(nn.Module):
        def forward(self, images, features):
            return token

    widened = ConfiguredModel(Says(), config, CPU, widen=True)(sample)
    assert (widened.logits.dtype, widened.token_logits.dtype) == (torch.float32, torch.float32)


def test_a_configuration_survives_its_record():
    config = replace(FAST, depthwise=("4x6x6 k3x3 s1x1",), compile="default", threads=2)
    record = config.record(deviation=0.25, refused={"bf16": 7.0})
    assert (record.deviation, record.refused) == (0.25, {"bf16": 7.0})
    assert ExecutionConfig.of(ExecutionRecord.model_validate_json(record.model_dump_json())) == config
    assert (FAST.record().deviation, FAST.record().refused) == (None, {})


def test_a_chosen_depthwise_gradient_is_used_in_training(monkeypatch):
    from benchbench.execution import depthwise

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Backbone(Trunk(module, 3, (0.0,) * 3, (1.0,) * 3), 2)
    real, kernels = depthwise.weight_gradient, []
    monkeypatch.setattr(depthwise, "weight_gradient", lambda *given: kernels.append(given[2]) or real(*given))
    gradients = []
    for chosen in ((), ("3x6x6 k3x3 s1x1",)):
        network = ConfiguredModel(model, ExecutionConfig(depthwise=chosen), CPU)
        model.zero_grad()
        network(torch.ones(2, 3, 6, 6)).logits.square().sum().backward()
        gradients.append(module[0].weight.grad.clone())
    assert kernels == [(3, 3)]
    assert torch.allclose(*gradients, rtol=1e-5)


def test_what_a_graph_gave_outlives_its_next_call(model, sample, monkeypatch):
    """A CUDA graph writes its outputs into the same memory at every call; a stand-in for one does so here."""
    given = model(sample, True)

    def replayed(images, features=False):
        outputs_now = model(images, features)
        for place, value in zip((given.logits, given.embedding, *given.features), flat(outputs_now), strict=True):
            place.copy_(value)
        return given

    def flat(outputs_now):
        return outputs_now.logits, outputs_now.embedding, *outputs_now.features

    monkeypatch.setattr(torch, "compile", lambda _, mode: replayed)
    network = ConfiguredModel(model, ExecutionConfig(compile="reduce-overhead"), CPU)
    with torch.no_grad():
        first = network(sample, True)
        network(1 - sample, True)
        expected = model(sample, True)
    assert all(torch.equal(one, other) for one, other in zip(flat(first), flat(expected), strict=True))
