"""Several processes that train one network: the numbers of one process, for every loss and whatever the network has.

All cases run in one pair of processes; `tests/training/pair.py` has them.
"""

from __future__ import annotations

import json
import sys

import pytest
import torch

from benchbench.data.batch import Batch
from benchbench.data.share import Share, SplitBatch
from benchbench.plugins import load_plugins
from benchbench.training.finite import EmbeddingSpread
from tests.forked import ForkedProcess

LOSSES = sorted(
    offer.component.name
    for offer in load_plugins().registry.of_kind("loss")
    if not {"pixels", "boxes", "second_view"} & offer.component.needs  # those train in one process
)
LARGEST = 1e-6  # relative, in float64, after 6 steps


@pytest.fixture(scope="module")
def differences(tmp_path_factory) -> dict[str, float]:
    """The largest relative difference of any weight from one process's, by case."""
    folder = tmp_path_factory.mktemp("pair")
    process = ForkedProcess([sys.executable, "-m", "tests.training.pair", folder])
    assert process.wait(timeout=300) == 0
    return json.loads((folder / "differences.json").read_text())


@pytest.mark.whole_run
def test_two_processes_train_with_every_loss_as_one(differences):
    own = {name.removeprefix("losses "): value for name, value in differences.items() if name.startswith("losses ")}
    assert sorted(name for group in own if not group.endswith(": curve") for name in group.split()) == LOSSES
    assert {name: value for name, value in own.items() if not value <= LARGEST} == {}


@pytest.mark.whole_run
@pytest.mark.parametrize(
    "case",
    [
        "group normalisation",
        "dropout",
        "mixed images",
        "parts of batches",
        "streamed parts of batches",
        "streamed images",
        "mixed streamed images",
        "resumed 2 > 1",
        "resumed 1 > 2",
        "evaluation",
        "evaluation: spread",
        "likely classes",
    ],
)
def test_two_processes_are_as_one(differences, case):
    assert differences[case] <= LARGEST


@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_row_is_one_process_s(size):
    for count in (5, 7, 64):
        rows = [row for rank in range(size) for row in range(count)[Share(rank, size, None).rows(count)]]
        assert rows == list(range(count))
    taken = [[Share(rank, size, None).takes(batch) for rank in range(size)] for batch in range(7)]
    assert all(sum(each) == 1 for each in taken)


def test_the_other_images_of_a_batch_are_gathered_when_they_are_read():
    asked = []

    def gather(rows, count):
        asked.append(count)
        return torch.cat([torch.zeros(count - len(rows), *rows.shape[1:]), rows])

    labels = torch.arange(5)
    batch = SplitBatch(None, labels, labels, own=torch.ones(3, 3, 2, 2), share=Share(1, 2, gather))
    assert len(batch.own_images) == 3
    assert len(batch.tensors()) == 3
    assert asked == []
    assert batch.images.sum() == 36
    assert batch.part(torch.tensor([0, 4])).images.sum() == 12
    assert asked == [5]


def test_a_whole_batch_is_split():
    images = torch.arange(5.0).view(5, 1, 1, 1)
    batch = SplitBatch.of(Batch(images, torch.arange(5), torch.arange(5), 0.5), Share(0, 2, None))
    assert batch.own_images.flatten().tolist() == [0, 1]
    assert (batch.images is images, batch.epoch) == (True, 0.5)


def test_the_spread_of_parts_is_that_of_all():
    values = torch.randn(30, 4) + 5
    whole, parts = EmbeddingSpread(), [EmbeddingSpread() for _ in range(3)]
    whole.add(values)
    parts[0].add(values[:10])
    parts[2].add(values[10:])
    assert EmbeddingSpread.of(parts).measure() == pytest.approx(whole.measure(), rel=1e-12)
    assert EmbeddingSpread.of(parts[1:2]).measure() is None
