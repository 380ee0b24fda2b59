"""Costs of networks against the numbers that torchvision publishes, and against a count by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from benchbench.costs.flops import ask, network_cost
from benchbench.costs.requests import Answers, NetworkCost, NetworkRequest
from benchbench.errors import BenchBenchError
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentVersion, ModelSpec
from tests.networks import fake_process, in_a_fork


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The file of cached answers; it does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "benchbench" / "networks.json"


def request_for(source: str, name: str, image_size: int = 32, **changes: Any) -> NetworkRequest:
    return NetworkRequest(
        model=ModelSpec(source=source, name=name, **changes),
        role="student",
        image_size=image_size,
        component=ComponentVersion(version="1", source=""),
        code="",
    )


# A RegNet computes with tensors while it is built, which the meta device cannot.
@pytest.mark.parametrize(
    "name",
    ["convnext_tiny", "densenet121", "googlenet", "mobilenet_v2", "regnet_y_400mf", "resnet18", "swin_t", "vit_b_16"],
)
def test_a_network_has_the_cost_that_torchvision_publishes(name, registry):
    """torchvision gives billions of multiply-adds for its weights' own size, and parameters with 1000 classes."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    cost = network_cost(request_for("torchvision", name, 224), registry)
    assert cost.parameters + 1000 * (cost.dim + 1) == published["num_params"]
    assert cost.flops / 2e9 == pytest.approx(published["_ops"], rel=0.01)


def test_a_multiplication_counts_as_two_operations(registry):
    operations = 0

    def count(part, _input, output):
        nonlocal operations
        kernel = part.weight[0].numel()  # multiplications for each number that comes out
        operations += 2 * kernel * output.numel()

    network = timm.create_model("test_resnet", num_classes=0).eval()
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            part.register_forward_hook(count)
    network(torch.zeros(1, 3, 48, 48))
    cost = network_cost(request_for("timm", "test_resnet", 48), registry)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert cost == NetworkCost(parameters=parameters, flops=operations, dim=96)


def test_a_network_that_cannot_train_on_batches_of_one_image(registry):
    """Batch normalisation behind a map of 1x1 has one value per channel; a larger map, or no such layer, is enough."""
    resnet = request_for("timm", "test_resnet", 32)
    with pytest.raises(BenchBenchError, match=r"^timm/test_resnet cannot train .* of 32 px: .*; raise `batch_size`"):
        network_cost(resnet.model_copy(update={"one_image": True}), registry)
    for request in (request_for("timm", "test_resnet", 64), request_for("timm", "test_vit", 160)):
        assert network_cost(request.model_copy(update={"one_image": True}), registry) == network_cost(request, registry)


def test_a_parameter_that_is_the_input_of_a_module(registry):
    """As the query of attention pooling, which SigLIP has."""
    pooled = network_cost(request_for("timm", "test_vit", 160, params={"global_pool": "map"}), registry)
    assert pooled.flops > network_cost(request_for("timm", "test_vit", 160), registry).flops


def test_the_cost_follows_the_model_s_params_and_input_size(registry):
    plain = network_cost(request_for("timm", "test_resnet", 32), registry)
    assert network_cost(request_for("timm", "test_resnet", 64), registry).flops == 4 * plain.flops
    assert network_cost(request_for("timm", "test_resnet", 64, input_size=32), registry) == plain
    wider = network_cost(request_for("timm", "test_resnet", 32, params={"channels": [32, 48, 48, 128]}), registry)
    assert wider.dim == 128
    # A network of one input size does the same work whatever the images.
    assert network_cost(request_for("timm", "test_vit", 32), registry) == network_cost(
        request_for("timm", "test_vit", 300), registry
    )


@pytest.mark.whole_run
def test_networks_are_built_in_another_process_and_their_costs_cached(cache, monkeypatch, registry):
    small, shuffle = request_for("timm", "test_resnet"), request_for("torchvision", "shufflenet_v2_x0_5", 64)
    typo, tiny = request_for("timm", "test_resnett"), request_for("torchvision", "inception_v3", 16)
    monkeypatch.setattr(subprocess, "run", in_a_fork)
    answers = ask([small, shuffle, request_for("timm", "test_resnet"), typo, tiny])
    assert answers.costs == {each.key: network_cost(each, registry) for each in (small, shuffle)}
    assert answers.errors.keys() == {typo.key, tiny.key}
    assert answers.errors[typo.key] == "unknown timm model 'test_resnett'; did you mean 'test_resnet'?"
    assert answers.errors[tiny.key].startswith("torchvision/inception_v3 fails on images of 16 px (RuntimeError: ")
    stored = Answers.model_validate_json(cache.read_text())
    assert stored.costs.keys() == {small.key, shuffle.key}
    assert stored.errors == {}  # such a network may work another time

    def never(*_args, **_kwargs):
        raise AssertionError("a second process")

    monkeypatch.setattr(subprocess, "run", never)
    assert ask([small, shuffle]).costs == answers.costs
    with pytest.raises(AssertionError, match="a second process"):  # the cost is another at another size
        ask([request_for("timm", "test_resnet", 40)])


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '"text"', '{"costs": {"key": {"flops": 1}}}'])
def test_a_damaged_cache_is_made_anew(cache, monkeypatch, content):
    request, cost = request_for("timm", "test_resnet"), NetworkCost(parameters=1, flops=2, dim=3)
    monkeypatch.setattr(subprocess, "run", fake_process({"test_resnet": cost}))
    cache.parent.mkdir()
    cache.write_text(content)
    assert ask([request]).costs == {request.key: cost}
    assert Answers.model_validate_json(cache.read_text()).costs == {request.key: cost}


def test_a_process_that_fails_is_one_line(cache, tmp_path):
    with pytest.raises(BenchBenchError) as caught:
        ask([request_for("timm", "test_resnet")], plugins=[tmp_path / "absent.py"])
    message = str(caught.value)
    assert message.startswith("cannot build the suite's models: ")
    assert "absent.py does not exist" in message
    assert "\n" not in message
    assert not cache.exists()


def test_a_network_that_does_not_pool_is_refused(registry):
    with pytest.raises(BenchBenchError, match=r"embedding has shape \[\d+, 1, 1\]"):
        network_cost(request_for("timm", "test_efficientnet", params={"global_pool": ""}), registry)
