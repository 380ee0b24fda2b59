"""Weights load by name, strictly, and without running what is in the file."""

from __future__ import annotations

import argparse
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from benchbench.models.weights import Weights
from tests.models.loaded import Network, assert_same, refusal, trained


class SameNetwork(nn.Module):
    """`Network` by another author."""

    def __init__(self, classes=4, width=6):
        super().__init__()
        self.conv_0 = nn.Conv2d(3, width, 3)
        self.bn_0 = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, classes)


def save(state, path: Path) -> Weights:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(dict(state), path)
    else:
        torch.save(state, path)
    return Weights(file=str(path))


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth", "w.pt"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_file_loads_by_name(tmp_path, file, order):
    source = trained(Network()).state_dict()
    network = Network()
    save(OrderedDict(list(source.items())[::order]), tmp_path / file).load_into(network, "fc")
    assert_same(network.state_dict(), source)


def test_a_checkpoint_with_a_state_dict_in_it_loads(tmp_path):
    source = trained(Network()).state_dict()
    network = Network()
    save({"epoch": 3, "state_dict": source}, tmp_path / "w.pth").load_into(network, "fc")
    assert_same(network.state_dict(), source)


def test_torch_s_older_format_loads(tmp_path):
    source = trained(Network()).state_dict()
    torch.save(source, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    network = Network()
    Weights(file=str(tmp_path / "w.pth")).load_into(network, "fc")
    assert_same(network.state_dict(), source)


def test_half_precision_weights_are_widened(tmp_path):
    source = trained(Network()).half().state_dict()
    network = Network()
    save(source, tmp_path / "w.safetensors").load_into(network, "fc")
    assert torch.equal(network.stem.weight, source["stem.weight"].float())


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("classes", [9, None])
def test_a_classifier_of_another_width_is_left_out(tmp_path, file, classes):
    source = trained(Network(classes or 4)).state_dict()
    if classes is None:  # a file of the trunk alone
        source = {name: tensor for name, tensor in source.items() if not name.startswith("fc.")}
    network = Network()
    head = [parameter.clone() for parameter in network.fc.parameters()]
    save(source, tmp_path / file).load_into(network, "fc")
    assert torch.equal(network.stem.weight, source["stem.weight"])
    assert torch.equal(network.norm.running_var, source["norm.running_var"])
    assert all(torch.equal(*pair) for pair in zip(head, network.fc.parameters(), strict=True))


@pytest.mark.parametrize("classes", [4, 9])
def test_the_same_network_under_other_names_loads_in_order(tmp_path, classes):
    source = trained(SameNetwork(classes)).state_dict()
    network = Network()
    own = [parameter.clone() for parameter in network.fc.parameters()]
    save(source, tmp_path / "w.pth").load_into(network, "fc")
    trunk = [tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")]
    assert all(torch.equal(*pair) for pair in zip(trunk, list(source.values())[:-2], strict=True))
    head = list(source.values())[-2:] if classes == 4 else own
    assert all(torch.equal(*pair) for pair in zip(network.fc.parameters(), head, strict=True))


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth"])
def test_what_does_not_fit_is_named(tmp_path, file):
    def changed(**changes):
        state = {**trained(Network()).state_dict(), **changes}
        return save({name: tensor for name, tensor in state.items() if tensor is not None}, tmp_path / file)

    def problem(**changes) -> str:
        message = refusal(changed(**changes))
        start, end = (
            f"{tmp_path / file} does not fit the network: ",
            "; give the network that they are of, or other weights",
        )
        assert message.startswith(start)
        assert message.endswith(end)
        return message[len(start) : -len(end)]

    assert problem(**{"norm.bias": None}) == "it lacks 1 of 9 tensors: norm.bias (6,)"
    assert problem(extra=torch.zeros(2)) == "1 of its tensors is not in the network: extra (2,)"
    assert problem(**{"stem.weight": torch.zeros(6, 3, 5, 5)}) == (
        "stem.weight is (6, 3, 5, 5), the network has (6, 3, 3, 3)"
    )
    assert problem(**{"norm.bias": None, "norm.weight": torch.zeros(5)}) == (
        "it lacks 1 of 9 tensors: norm.bias (6,); norm.weight is (5,), the network has (6,)"
    )
    assert problem(**{"norm.weight": torch.ones(6, dtype=torch.int8)}) == (
        "norm.weight is (6,) int8, the network has (6,)"
    )
    many = {f"{'long' * 40}{number}": torch.zeros(number) for number in range(5)}
    assert problem(**many).endswith(f"{'long' * 20} (0,), {'long' * 20} (1,), {'long' * 20} (2,), ...")


def test_another_network_is_not_taken_for_the_same_under_other_names(tmp_path):
    path = tmp_path / "w.pth"
    other = refusal(save(trained(SameNetwork(width=5)).state_dict(), path))
    assert (
        "conv_0.weight (5, 3, 3, 3) stands for stem.weight (6, 3, 3, 3); it holds conv_0.weight (5, 3, 3, 3), " in other
    )
    assert ", the network stem.weight (6, 3, 3, 3), " in other
    fewer = dict(list(trained(SameNetwork()).state_dict().items())[:-1])
    assert "it has 8 tensors, the network 9; it holds " in refusal(save(fewer, path))
    swapped = trained(SameNetwork()).state_dict()
    swapped = {name: swapped[name] for name in sorted(swapped)}  # bias before weight
    assert "bn_0.bias (6,) stands for stem.weight (6, 3, 3, 3)" in refusal(save(swapped, path))
    same_shapes = {f"x{name.replace('weight', 'scale')}": t for name, t in Network().state_dict().items()}
    assert "xstem.scale (6, 3, 3, 3) stands for stem.weight" in refusal(save(same_shapes, path))


def test_safetensors_are_never_matched_by_order(tmp_path):
    """They come sorted by name, so that their order says nothing."""
    message = refusal(save(trained(SameNetwork()).state_dict(), tmp_path / "w.safetensors"))
    assert "no tensor has a name of the network's; it holds bn_0.bias (6,), " in message


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth"])
def test_an_absent_file_is_said_to_be_absent(tmp_path, file):
    path = tmp_path / file
    assert refusal(Weights(file=str(path))) == f"weights file {path} does not exist"


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {"a": 1}, {"state_dict": {"a": "b"}}])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    assert refusal(save(content, path)) == f"{path} holds no state dict; save model.state_dict()"


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    state = trained(Network()).state_dict()
    state["norm.running_var"][:2] = torch.tensor([math.nan, math.inf])
    message = refusal(save(state, tmp_path / "w.pth"))
    assert "holds numbers that are not finite: 2 of norm.running_var (6,)" in message
    state = {**trained(Network()).state_dict(), "fc.bias": torch.full((4,), math.nan)}  # the task has its own
    save(state, tmp_path / "w.pth").load_into(Network(), "fc")


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def trunk(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def other(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As many tensors of the same shapes, with other numbers."""
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


# What training scripts leave, of a network's state; each still has the classifier.
WHOLE = {
    "a container": lambda state: {"epoch": 3, "model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "arguments": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.99))},
    "numpy": lambda state: {"net": state, "best": np.float64(75), "history": np.arange(3.0), "kind": np.int64(2)},
    "ddp": lambda state: prefixed("module.", state),
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "compiled within": lambda state: {
        "model": prefixed("module.", {n.replace(".", "._orig_mod."): t for n, t in state.items()})
    },
    "lightning": lambda state: {
        "state_dict": {**prefixed("model.", state), "criterion.weight": torch.ones(4)},
        "hyper_parameters": {"lr": 0.1},
        "pytorch-lightning_version": "2.5",
    },
    "a plain and an averaged one": lambda state: {"state_dict_ema": other(state), "state_dict": state},
    "averaged beside plain names": lambda state: {**prefixed("ema_model.", other(state)), **prefixed("model.", state)},
    "a student and a teacher": lambda state: {"student": other(state), "teacher": prefixed("backbone.", state)},
    "a queue": lambda state: {
        "state_dict": {
            **prefixed("module.encoder_k.", other(state)),
            **prefixed("module.encoder_q.", state),
            "module.queue": torch.ones(6, 9),
        }
    },
    "averaged by torch": lambda state: {"n_averaged": torch.tensor(3), **prefixed("module.", state)},
    "a classifier beside the backbone": lambda state: {
        **prefixed("backbone.", trunk(state)),
        **prefixed("head.", {name: tensor for name, tensor in state.items() if name.startswith("fc.")}),
    },
    "a classifier of another name": lambda state: {
        **trunk(state),
        "predictions.weight": state["fc.weight"],
        "predictions.bias": state["fc.bias"],
    },
    "a 1x1 convolution": lambda state: {**state, "fc.weight": state["fc.weight"][:, :, None, None]},
    "counted operations": lambda state: {**state, "total_ops": torch.zeros(1), "stem.total_params": torch.zeros(1)},
    "sparse": lambda state: {**state, "fc.weight": state["fc.weight"].to_sparse()},
    "beside plain values": lambda state: {**state, "epoch": 3, "name": "a run"},
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_scripts_leave_loads(tmp_path, kind, zipped):
    source, network, path = trained(Network()).state_dict(), Network(), tmp_path / "checkpoint.pth.tar"
    torch.save(WHOLE[kind](source), path, _use_new_zipfile_serialization=zipped)
    head = Weights(file=str(path)).load_into(network, "fc")
    assert_same(trunk(network.state_dict()), trunk(source))
    assert torch.equal(head.weight, source["fc.weight"])
    assert torch.equal(head.bias, source["fc.bias"])
    with torch.device("meta"):  # as a plan checks it
        shape = Weights(file=str(path), shapes_only=True).load_into(Network(), "fc")
    assert shape.weight.shape == head.weight.shape


# Trunks alone, or with heads that are no linear classifier.
TRUNKS = {
    "no classifier": trunk,
    "ddp": lambda state: prefixed("module.", trunk(state)),
    "a projection under its name": lambda state: {
        **trunk(state),
        **{
            f"fc.{n}.{part}": torch.zeros(6, 6)[: 6 if part == "weight" else 1]
            for n in (0, 2)
            for part in ("weight", "bias")
        },
    },
    "a projection beside": lambda state: {
        **prefixed("backbone.", trunk(state)),
        **{f"projector.{n}.{part}": torch.zeros(6, 6) for n in (0, 2) for part in ("weight", "bias")},
    },
    "no counters": lambda state: {n: t for n, t in trunk(state).items() if "num_batches" not in n},
    "bf16": lambda state: {n: t.bfloat16() for n, t in trunk(state).items()},
}


@pytest.mark.parametrize("kind", TRUNKS)
def test_a_trunk_alone_loads(tmp_path, kind):
    source, network = trained(Network()).state_dict(), Network()
    assert save(TRUNKS[kind](source), tmp_path / "w.pth").load_into(network, "fc") is None
    expected = source["stem.weight"].bfloat16().float() if kind == "bf16" else source["stem.weight"]
    assert torch.equal(network.stem.weight, expected)


def test_a_part_is_chosen_by_its_name(tmp_path):
    source = trained(Network()).state_dict()
    content = {"state_dict_ema": source, "state_dict": other(source), "momentum": prefixed("encoder.", source)}
    path = tmp_path / "w.pth"
    torch.save(content, path)
    for part in ("state_dict_ema", "momentum", "momentum.encoder", "encoder"):
        network = Network()
        Weights(file=str(path), part=part).load_into(network, "fc")
        assert_same(network.state_dict(), source)
    message = refusal(Weights(file=str(path), part="state_dict_em"))
    assert message.endswith("no part 'state_dict_em' with tensors of this network; did you mean 'state_dict_ema'?")


def test_the_order_of_definition_holds_without_counters_and_classifier(tmp_path):
    source = trained(SameNetwork()).state_dict()
    kept = {n: t for n, t in source.items() if "num_batches" not in n and "classifier" not in n}
    network = Network()
    save(kept, tmp_path / "w.pth").load_into(network, "fc")
    assert torch.equal(network.norm.running_var, source["bn_0.running_var"])
