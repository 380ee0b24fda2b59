"""Compilation: every network of a process is compiled, also where all of them share their code."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torchvision.models import swin_transformer

from benchbench.execution.compiled import VARIANTS
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec

CPU = torch.device("cpu")
# More than the LIMIT of what Dynamo compiles of one piece of code.
NETWORKS, LIMIT = 4, 3


@pytest.fixture
def graphs(monkeypatch) -> Iterator[CompileCounter]:
    """Counts the graphs that Dynamo finds, which then run as they are: no compiler is needed."""
    counter, real = CompileCounter(), torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda forward, mode, dynamic: real(forward, backend=counter, dynamic=dynamic)
    )
    config = torch._dynamo.config
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # before torch 2.7
    torch._dynamo.reset()
    with config.patch(name, LIMIT):
        yield counter
    torch._dynamo.reset()


def network(width: int, trunk: nn.Module | None = None) -> Backbone:
    trunk = trunk or nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Backbone(Trunk(trunk, width, (0.4,) * 3, (0.2,) * 3), 5)


def run(model: Backbone) -> ConfiguredModel:
    return ConfiguredModel(model, ExecutionConfig(compile="default"), CPU)


@pytest.mark.whole_run
def test_many_networks_are_compiled_each_once(graphs):
    """Also for other batch sizes than that of a network before it, and in train mode beside eval mode."""
    for number in range(1, NETWORKS + 1):
        model, images = network(number), torch.rand(number, 3, 8, 8)
        compiled = run(model.eval())
        expected = model(images)
        with torch.no_grad():
            outputs = [compiled(images, False) for _ in range(2)]
        assert graphs.frame_count == 2 * number - 1
        assert all(torch.allclose(each.logits, expected.logits, atol=1e-6) for each in outputs)
        compiled.model.train()
        compiled(images, False).logits.sum().backward()
        assert graphs.frame_count == 2 * number
        assert model.head.weight.grad is not None


@pytest.mark.whole_run
def test_code_inside_of_networks_that_breaks_a_graph_has_a_higher_limit(graphs):
    class Breaks(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.width = width

        def forward(self, images):
            images = images.mean((2, 3)).repeat(1, self.width)
            torch._dynamo.graph_break()
            return images + 1

    assert NETWORKS < VARIANTS
    for number in range(1, NETWORKS + 1):
        model = network(3 * number, Breaks(number)).eval()
        with torch.no_grad():
            run(model)(torch.rand(2, 3, 8, 8))
        assert graphs.frame_count >= 2 * number


def test_one_batch_size_is_compiled_and_others_run_eagerly(graphs):
    compiled = run(network(4).eval())
    with torch.no_grad():
        for count in (6, 2, 6, 1, 6):
            assert len(compiled(torch.rand(count, 3, 8, 8)).logits) == count
    assert graphs.frame_count == 1
    compiled(torch.rand(6, 3, 8, 8), eager=True)
    assert graphs.frame_count == 1


def test_a_network_that_nobody_uses_is_let_go(graphs):
    compiled = run(network(4).eval())
    with torch.no_grad():
        compiled(torch.rand(2, 3, 8, 8))
    trunk = weakref.ref(compiled.model.trunk)
    del compiled
    gc.collect()
    assert trunk() is None


@pytest.mark.whole_run
@pytest.mark.parametrize("name", ["resnet18", "swin_t"])
def test_maps_of_torchvision_are_part_of_one_graph(graphs, name, monkeypatch):
    real, small = swin_transformer._swin_transformer, {"embed_dim": 24, "depths": [2, 1, 1, 1]}
    monkeypatch.setattr(swin_transformer, "_swin_transformer", lambda **options: real(**{**options, **small}))
    model = build_backbone(ModelSpec(source="torchvision", name=name), "student", load_plugins().registry, 5).eval()
    compiled, images = run(model), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        outputs, expected = compiled(images, True), model(images, True)
    assert graphs.frame_count == 1
    assert len(outputs.features) == len(expected.features) >= 3
    pairs = zip(outputs.features, expected.features, strict=True)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)
