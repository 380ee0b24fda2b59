"""Frozen networks run as fast as their outputs allow; how far outputs have moved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.execution import agreement
from benchbench.execution import network as network_module
from benchbench.execution.agreement import Sample
from benchbench.execution.network import (
    ROUNDING,
    ConfiguredModel,
    ExecutionConfig,
    deviation,
    frozen_network,
    trainable_precision,
)
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
    frozen_network(model, config, Sample(sample), tolerance)
    actual = state(model)
    assert list(actual) == list(before)
    assert all(torch.equal(actual[name], before[name]) for name in before)
    assert torch.equal(model(sample).logits, expected)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.trunk[0].weight.is_contiguous()


@pytest.fixture
def undecided(model) -> Backbone:
    """Its logits are around 1000, where bf16 counts in steps of 4, and differ by less."""
    assert isinstance(model.head, nn.Linear)
    with torch.no_grad():
        model.head.bias.fill_(1000.0)
    return model


@torch.no_grad()
def test_what_keeps_the_classes_is_taken(model, sample):
    network, record = frozen_network(model, FAST, Sample(sample), 1e-9)
    moved = deviation(network(sample), model(sample))
    assert record == FAST.record(deviation=moved, changed=0.0)
    assert 0 < moved < 0.25
    assert network.config == FAST


@torch.no_grad()
def test_low_precision_that_changes_too_many_classes_is_refused(undecided, sample):
    network, record = frozen_network(undecided, FAST, Sample(sample), 0.5)
    model = undecided
    assert network.config == replace(FAST, precision="fp32")
    assert list(record.refused) == ["bf16"]
    assert record.refused["bf16"] > 0.5
    assert record.changed is None
    assert (record.precision, record.fold_bn, record.channels_last) == ("fp32", True, True)
    assert record.deviation == deviation(network(sample), model(sample)) < ROUNDING


@torch.no_grad()
def test_whatever_moves_the_outputs_the_plain_network_is_left(model, sample, monkeypatch):
    monkeypatch.setattr("benchbench.execution.network.deviation", lambda actual, expected: 7.0)
    network, record = frozen_network(model, replace(FAST, threads=1), Sample(sample), 0.5)
    assert network.config == ExecutionConfig(threads=1)
    assert record.refused == {"bf16": 7.0, "without low precision": 7.0, "without folding": 7.0}
    assert record.deviation == 0
    assert torch.equal(network(sample).logits, model(sample).logits)


@torch.no_grad()
def test_low_precision_that_is_asked_for_is_taken_whatever_it_changes(undecided, sample):
    network, record = frozen_network(undecided, FAST, Sample(sample), float("inf"))
    assert network.config == FAST
    assert record.changed > 0.5
    assert record.refused == {}


@pytest.mark.parametrize(("tolerance", "precision"), [(0.19, "bf16"), (0.01, "fp32")])
def test_a_network_that_trains_may_change_five_times_as_many(model, sample, monkeypatch, tolerance, precision):
    monkeypatch.setattr("benchbench.execution.network.changed_classes", lambda low, full, sample: 0.9)
    config = ExecutionConfig(precision="bf16", compile="default")
    chosen = trainable_precision(model, config, Sample(sample), tolerance)
    assert chosen == (replace(config, precision=precision), 0.9)


def test_a_network_that_trains_is_compared_with_the_statistics_of_the_images(model, sample, monkeypatch):
    """Its own ones, which are far from them, count for nothing; and it stays as it is."""
    norm, compared = model.trunk[1], []
    with torch.no_grad():
        norm.running_mean.fill_(1e6)
    real = agreement.changed_classes

    def seen(low, full, sample):
        compared.append((low.config.precision, full.config.precision, low.model.trunk[1].running_mean.clone()))
        return real(low, full, sample)

    monkeypatch.setattr("benchbench.execution.network.changed_classes", seen)
    before = state(model)
    config, changed = trainable_precision(model, ExecutionConfig(precision="bf16"), Sample(sample), 0.02)
    assert config.precision == "bf16"
    assert changed == 0
    ((low, full, mean),) = compared
    assert (low, full) == ("bf16", "fp32")
    inputs = model.trunk[0]((sample - model.mean) / model.std)
    assert torch.allclose(mean, inputs.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_comparisons_are_made_without_tf32(model, sample, monkeypatch):
    allowed, real = [], network_module.tf32_convolutions
    monkeypatch.setattr(
        network_module, "tf32_convolutions", lambda device, allowed: real(torch.device("cuda"), allowed)
    )
    forward = Backbone.forward

    def seen(self, *args, **kwargs):
        allowed.append(torch.backends.cudnn.allow_tf32)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Backbone, "forward", seen)
    frozen_network(model, FAST, Sample(sample), 0.5)
    trainable_precision(model, FAST, Sample(sample), 0.5)
    assert set(allowed) == {False}
    assert torch.backends.cudnn.allow_tf32


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
    assert frozen_network(model, config, Sample(sample), 0.5)[0].config == config
    network, record = frozen_network(model, config, Sample(sample), 0.5, features=True)
    assert network.config == ExecutionConfig()
    assert record.refused["bf16"] > 0.5
    assert dtypes == [torch.bfloat16]


@torch.no_grad()
def test_outputs_of_low_precision_are_widened(model, sample):
    config, kinds = ExecutionConfig(precision="bf16"), []
    model.trunk[0].register_forward_hook(lambda _part, _given, out: kinds.append(out.dtype))
    network, _ = frozen_network(model, config, Sample(sample), 0.5, features=True)
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
