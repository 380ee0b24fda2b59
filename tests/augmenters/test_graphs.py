"""Augmentations as CUDA graphs: what a graph repeats is what each image would get alone, on any device."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Generator, Tensor

from benchbench.augmenters import color, graphs, rand_augment
from benchbench.augmenters.color import color_jitter
from benchbench.augmenters.graphs import MOST_GRAPHS, is_launch_bound, replayed
from tests.cuda import CUDA, STUB, no_waiting

AUGMENTERS = {
    "color_jitter": partial(color_jitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "some of color_jitter": partial(color_jitter, brightness=0.4, contrast=0.0, saturation=0.4, hue=0.1),
    "rand_augment": partial(rand_augment.rand_augment, num_ops=2, magnitude=9),
}


def drawn(name: str, images: Tensor, seed: int) -> Tensor:
    return AUGMENTERS[name](images, 32, Generator().manual_seed(seed))


@pytest.mark.parametrize("name", AUGMENTERS)
@pytest.mark.parametrize("count", [1, 40])
def test_choosing_among_all_operations_gives_what_groups_give(name, count, monkeypatch):
    images = torch.rand(count, 3, 13, 17, generator=Generator().manual_seed(0))
    expected = drawn(name, images, 3)
    for module in (color, rand_augment):
        monkeypatch.setattr(module, "is_launch_bound", lambda images: True)
        monkeypatch.setattr(module, "replayed", lambda name, function, *inputs: function(*inputs))
    assert torch.equal(drawn(name, images, 3), expected)


def test_a_cpu_runs_no_graphs():
    assert not is_launch_bound(torch.rand(2, 3, 4, 4))


@pytest.mark.cuda
def test_large_batches_are_not_bound_by_launches():
    assert is_launch_bound(torch.empty(512, 3, 32, 32, device=CUDA))
    assert not is_launch_bound(torch.empty(64, 3, 224, 224, device=CUDA))


@pytest.mark.cuda
@pytest.mark.parametrize("name", AUGMENTERS)
def test_every_run_of_a_graph_has_the_images_and_draws_of_its_call(name, monkeypatch):
    monkeypatch.setattr(graphs, "_graphs", type(graphs._graphs)())
    batches = [torch.rand(16, 3, 32, 32) for _ in range(5)]
    on_device = [batch.to(CUDA) for batch in batches]
    results = [drawn(name, batch, seed) for seed, batch in enumerate(on_device[:2])]
    with no_waiting():
        results += [drawn(name, batch, seed) for seed, batch in enumerate(on_device[2:], start=2)]
    assert {result.device.type for result in results} == {"cuda"}
    assert len({result.data_ptr() for result in results}) == 5
    assert all(isinstance(graph, graphs._Graph) for graph in graphs._graphs.values())
    if STUB is None:
        for seed, (result, batch) in enumerate(zip(results, batches, strict=True)):
            # A pixel at a border may fall to its other side by rounding.
            assert (result.cpu() - drawn(name, batch, seed)).abs().mean() < 1e-4


@pytest.mark.cuda
def test_what_cannot_be_captured_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(graphs, "_graphs", type(graphs._graphs)())
    calls = []

    def function(images, numbers):
        calls.append(torch.cuda.is_current_stream_capturing())
        if len(calls) == 2:
            raise RuntimeError("operation not permitted when stream is capturing")
        return images + numbers

    images, numbers = torch.zeros(2, 3, 4, 4, device=CUDA), torch.ones((), device=CUDA)
    for _ in range(4):
        assert replayed("sum", function, images, numbers).shape == images.shape
    assert len(calls) == 5
    assert calls[-1] is False
    for count in range(3, 3 + MOST_GRAPHS):
        replayed("sum", function, images[:, :, :1].expand(2, 3, count, 4), numbers)
    assert len(graphs._graphs) == MOST_GRAPHS
