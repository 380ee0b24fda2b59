"""The networks' shapes, their weights, and the contract of a model source."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchbench.errors import UnknownNameError, WeightsError
from benchbench.models.weights import Weights
from benchbench.plugins import load_plugins
from benchbench.testing import checks_of

FILE = Path(__file__).parent.parent / "benchbench_tinynet.py"
NAMES = ("small", "medium", "large")


@pytest.fixture
def build():
    return load_plugins([FILE]).registry.get("student", "tinynet").load()


@pytest.mark.parametrize("check", checks_of(FILE, model="medium", params={"width": 8}), ids=str)
def test_contract(check):
    finding = check.run()
    assert finding.status != "failed", finding


def test_deeper_networks_have_more_convolutions_and_the_same_embedding(build):
    trunks = [build(name, None, width=8) for name in NAMES]
    assert [sum(p.ndim == 4 for p in trunk.module.parameters()) for trunk in trunks] == [3, 6, 12]
    assert {trunk.dim for trunk in trunks} == {32}


def test_a_map_after_each_stage(build):
    _, maps = build("small", None, width=8).with_features(torch.rand(2, 3, 32, 32))
    assert [list(each.shape) for each in maps] == [[2, 8, 16, 16], [2, 16, 8, 8], [2, 32, 4, 4]]


def test_weights_of_a_file(build, tmp_path):
    saved = build("small", None, width=8).module
    safetensors.torch.save_file(saved.state_dict(), tmp_path / "weights.safetensors")
    loaded = build("small", Weights(file=str(tmp_path / "weights.safetensors")), width=8).module
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


def test_what_there_is_not(build):
    with pytest.raises(UnknownNameError, match=r"unknown network 'tinynet/smal'; did you mean 'small'\?"):
        build("smal", None, width=8)
    with pytest.raises(WeightsError, match=r"no weights of its own; write `weights: \{file: PATH\}`"):
        build("small", Weights(pretrained="default"), width=8)
