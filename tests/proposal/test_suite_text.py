"""The text of a proposed suite: it is one, and its sizes fit the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchbench.proposal.folder import ImageFolder
from benchbench.proposal.suite_text import Network, Proposal
from benchbench.suite.file import load_suite

FOLDER = ImageFolder(Path("photos"), True, 800, 200, 6, 300, "")


def test_it_is_a_suite_with_a_comment_at_each_part(tmp_path):
    file = tmp_path / "suites" / "birds.yaml"
    file.parent.mkdir()
    awkward = tmp_path / 'my "own" birds: #1'
    text = Proposal("birds", file, replace(FOLDER, path=awkward)).text(12, "12 epochs: about 1 h on a processor.")
    file.write_text(text)
    loaded = load_suite(file)
    suite = loaded.suite
    source = suite.data["birds"].source
    assert (suite.name, source.name, suite.recipes.default.epochs) == ("birds", "imagefolder", 12)
    assert source.params == {"path": str(awkward), "split": {"test": 0.2}}
    assert set(suite.arms) == {"scratch", "linear probe", "pre-train + fine-tune", "KD", "A/U"}
    assert "# How networks are trained; the nearest setting wins. 12 epochs: about 1 h on a processor.\n" in text
    parts = [part for part in text.split("\n\n") if not part.startswith("#")]
    assert parts == []  # each has its comment above it


def test_paths_are_relative_to_the_file():
    text = Proposal("birds", Path("suites/birds.yaml"), replace(FOLDER, is_split=False)).text(5)
    assert '{imagefolder: {path: "../photos"}}' in text


@pytest.mark.parametrize(
    ("side", "train", "on_gpu", "size", "batch"),
    [
        (300, 5000, False, 64, 32),
        (300, 5000, True, 224, 128),
        (150, 5000, True, 128, 128),
        (20, 100, False, 32, 8),
        (64, 10, True, 64, 4),
    ],
)
def test_sizes_fit_the_images(side, train, on_gpu, size, batch):
    proposal = Proposal("birds", Path("birds.yaml"), replace(FOLDER, side=side, train=train), on_gpu=on_gpu)
    assert (proposal.image_size, proposal.batch_size) == (size, batch)


def test_networks_of_a_library_start_from_its_weights():
    network = Network.of_library("timm/resnet50.a1_in1k", is_teacher=True)
    assert (network.label, network.text) == (
        "resnet50-a1_in1k",
        "{model: timm/resnet50.a1_in1k, weights: pretrained, adapt: finetune}",
    )


@pytest.mark.parametrize("name", ["2024", "2024-05-01", "null", "1e3"])
def test_a_folder_called_by_a_number_or_a_date(tmp_path, name):
    file = tmp_path / f"{name}.yaml"
    file.write_text(Proposal(name, file, FOLDER).text(5))
    suite = load_suite(file).suite
    assert (suite.name, [*suite.data]) == (name, [name])
