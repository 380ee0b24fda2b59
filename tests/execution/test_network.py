"""Frozen networks run as fast as their outputs allow; how far outputs have moved."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.execution import network as network_module
from benchbench.execution.agreement import ROUNDING, Sample, deviation
from benchbench.execution.network import (
    ConfiguredModel,
    ExecutionConfig,
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


LOW = ExecutionConfig(precision="bf16", compile="default", channels_last=True)


@pytest.mark.parametrize(
    ("low", "precision"),
    [(2.05, "bf16"), (1.0, "bf16"), (2.15, "fp32"), (float("nan"), "fp32"), (float("inf"), "fp32")],
)
def test_a_network_may_learn_a_little_less_well_at_first(low, precision, model, sample, monkeypatch):
    losses = {"bf16": low, "fp32": 2.0}
    monkeypatch.setattr(network_module, "_first_loss", lambda model, config, sample: losses[config.precision])
    chosen = trainable_precision(model, LOW, Sample(sample))
    assert chosen.config == replace(LOW, precision=precision)
    assert (repr(chosen.low), chosen.full) == (repr(low), 2.0)


@pytest.fixture
def trainable() -> Backbone:
    """With dropout and batch statistics."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Backbone(Trunk(nn.Sequential(*layers), 8, (0.4,) * 3, (0.2,) * 3), 5)


@pytest.fixture
def labelled() -> Sample:
    torch.manual_seed(1)
    return Sample(torch.rand(100, 3, 12, 12), torch.arange(100) % 5)


def test_a_network_that_learns_in_bf16_is_trained_in_it(trainable, labelled):
    before, numbers = state(trainable), torch.get_rng_state()
    chosen = trainable_precision(trainable, LOW, labelled)
    assert chosen.config == LOW
    assert 0 < abs(chosen.low - chosen.full) < 0.05
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainable.state_dict().items())
    assert all(parameter.grad is None for parameter in trainable.parameters())


def test_a_last_image_alone_is_left_out(trainable, labelled):
    """Batch normalisation of one number a channel is none."""
    trunk = trainable.trunk
    trunk[1], trunk[2], trunk[3] = nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.Dropout(0.2)
    images, labels = labelled
    chosen = [trainable_precision(trainable, LOW, Sample(images[:count], labels[:count])) for count in (64, 65)]
    assert chosen[0] == chosen[1]


def test_a_network_that_bf16_breaks_is_not(trainable, labelled):
    """Its logits, right for every image, are around 100,000: bf16 counts in steps of 512 there."""
    images = labelled.images
    with torch.no_grad():
        trainable.trunk[2].p = 0.0
        trainable.head.weight.mul_(100)
        labels = torch.cat([copy.deepcopy(trainable)(part).logits.argmax(1) for part in images.split(64)])
        trainable.head.bias.fill_(1e5)
    chosen = trainable_precision(trainable, LOW, Sample(images, labels))
    assert chosen.config == replace(LOW, precision="fp32")
    assert chosen.low > chosen.full + 0.1


def test_the_first_loss_is_that_of_a_plain_training(trainable, labelled):
    """In two steps, of 64 and of 36 images."""
    other, losses = copy.deepcopy(trainable).train(), []
    optimizer = torch.optim.AdamW(other.parameters(), lr=1e-3)
    torch.manual_seed(0)
    for first, last in ((0, 64), (64, 100)):
        loss = nn.functional.cross_entropy(other(labelled.images[first:last]).logits, labelled.labels[first:last])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    chosen = trainable_precision(trainable, replace(LOW, channels_last=False), labelled)
    assert chosen.full == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_comparisons_are_made_without_tf32(model, trainable, labelled, sample, monkeypatch):
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
    trainable_precision(trainable, LOW, labelled)
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
