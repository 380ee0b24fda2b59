"""Cards against the numbers that torchvision publishes, and against a count by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from benchbench.costs import flops as cards
from benchbench.costs.flops import _card, cards_for
from benchbench.errors import BenchBenchError
from benchbench.plugins import load_plugins


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The file that answers are kept in; it is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "benchbench" / "cards.json"


def request_for(source, name, image_size=32, **changes):
    job = {"source": source, "name": name, "params": {}, "weights": None, "mean": None, "std": None, "input_size": None}
    return {"model": job | changes, "kind": "student", "image_size": image_size, "source": {"version": "1"}}


# A RegNet computes with tensors while it is built, which the meta device cannot.
@pytest.mark.parametrize(
    "name",
    ["convnext_tiny", "densenet121", "googlenet", "mobilenet_v2", "regnet_y_400mf", "resnet18", "swin_t", "vit_b_16"],
)
def test_a_card_says_what_torchvision_publishes(name, registry):
    """torchvision gives billions of multiply-adds for its weights' own size, and parameters with 1000 classes."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    card = _card(request_for("torchvision", name, 224), registry)
    assert card["parameters"] + 1000 * (card["dim"] + 1) == published["num_params"]
    assert card["flops"] / 2e9 == pytest.approx(published["_ops"], rel=0.01)


def test_a_card_counts_two_operations_a_multiplication(registry):
    operations = 0

    def count(part, _given, output):
        nonlocal operations
        kernel = part.weight[0].numel()  # multiplications for each number that comes out
        operations += 2 * kernel * output.numel()

    network = timm.create_model("test_resnet", num_classes=0).eval()
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            part.register_forward_hook(count)
    network(torch.zeros(1, 3, 48, 48))
    card = _card(request_for("timm", "test_resnet", 48), registry)
    assert card == {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "flops": operations,
        "dim": 96,
    }


def test_a_card_follows_the_model_s_params_and_input_size(registry):
    plain = _card(request_for("timm", "test_resnet", 32), registry)
    assert _card(request_for("timm", "test_resnet", 64), registry)["flops"] == 4 * plain["flops"]
    assert _card(request_for("timm", "test_resnet", 64, input_size=32), registry) == plain
    wider = _card(request_for("timm", "test_resnet", 32, params={"channels": [32, 48, 48, 128]}), registry)
    assert wider["dim"] == 128
    # A network of one input size does the same work whatever the images.
    assert _card(request_for("timm", "test_vit", 32), registry) == _card(request_for("timm", "test_vit", 300), registry)


def test_cards_are_made_in_another_process_and_kept(cache, monkeypatch, registry):
    requests = {
        "a": request_for("timm", "test_resnet"),
        "b": request_for("torchvision", "shufflenet_v2_x0_5", 64),
        "again": request_for("timm", "test_resnet"),
        "typo": request_for("timm", "test_resnett"),
        "small": request_for("torchvision", "inception_v3", 16),
    }
    found = cards_for(requests, [])
    assert found["a"] == found["again"] == _card(requests["a"], registry)
    assert found["b"] == _card(requests["b"], registry)
    assert found["typo"] == {"error": "unknown timm model 'test_resnett'; did you mean 'test_resnet'?"}
    assert found["small"]["error"].startswith("torchvision/inception_v3 fails on images of 16 px (RuntimeError: ")
    assert len(json.loads(cache.read_text())) == 2  # what failed may work another time

    def never(*_args, **_kwargs):
        raise AssertionError("a second process")

    monkeypatch.setattr(subprocess, "run", never)
    known = {name: requests[name] for name in ("a", "b")}
    assert cards_for(known, []) == {name: found[name] for name in known}
    with pytest.raises(AssertionError, match="a second process"):  # another size is another card
        cards_for({"a": request_for("timm", "test_resnet", 40)}, [])


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '"text"'])
def test_a_damaged_cache_is_made_anew(cache, monkeypatch, content):
    def answer(*_args, input, **_kwargs):
        new = {key: {"parameters": 1, "flops": 2, "dim": 3} for key in json.loads(input)["requests"]}
        return subprocess.CompletedProcess([], 0, f"noise of a library\n{json.dumps(new)}\n", "")

    monkeypatch.setattr(subprocess, "run", answer)
    cache.parent.mkdir()
    cache.write_text(content)
    found = cards_for({"a": request_for("timm", "test_resnet")}, [])
    assert found == {"a": {"parameters": 1, "flops": 2, "dim": 3}}
    assert list(json.loads(cache.read_text()).values()) == [found["a"]]


def test_a_process_that_fails_is_one_line(cache, tmp_path):
    with pytest.raises(BenchBenchError) as caught:
        cards_for({"a": request_for("timm", "test_resnet")}, [tmp_path / "absent.py"])
    message = str(caught.value)
    assert message.startswith("cannot look at the suite's models: ")
    assert "absent.py does not exist" in message
    assert "\n" not in message
    assert not cache.exists()


def test_looking_a_card_up_does_not_import_torch():
    code = f"import sys, {cards.__name__}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_network_that_does_not_pool_is_refused(registry):
    with pytest.raises(BenchBenchError, match=r"embedding has shape \[\d+, 1, 1\]"):
        _card(request_for("timm", "test_efficientnet", params={"global_pool": ""}), registry)
