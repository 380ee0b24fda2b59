"""Frozen networks of a stage: FLOPs counted on shapes alone, and outputs that are not finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.models.backbone import build_backbone
from benchbench.models.outputs import Outputs
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec
from benchbench.stages.networks import check_finite, fingerprint, forward_flops


@pytest.fixture(scope="module")
def resnet18():
    model = ModelSpec(source="torchvision", name="resnet18")
    return build_backbone(model, "student", load_plugins().registry, 1000)


def test_flops_are_those_that_are_published(resnet18):
    """torchvision states 1.814 G multiply-adds at 224 px, each of which is two operations here."""
    assert forward_flops(resnet18, 224) == pytest.approx(2 * 1.814e9, rel=0.001)
    assert fingerprint(resnet18, 112).flops < forward_flops(resnet18, 224) / 3


def test_counting_leaves_a_network_as_it_was(resnet18):
    images = torch.rand(2, 3, 64, 64)
    resnet18.train()
    before = {name: tensor.clone() for name, tensor in resnet18.state_dict().items()}
    forward_flops(resnet18, 64)
    assert resnet18.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet18.state_dict().items())
    assert resnet18.eval()(images).logits.device.type == "cpu"


def test_a_network_that_must_see_numbers_has_no_figure(capsys):
    class Looks(nn.Module):
        def forward(self, images):
            return images * 2 if images.sum().item() > 0 else images

    assert forward_flops(Looks(), 8) is None
    assert "FLOPs are not known" in capsys.readouterr().out


def test_outputs_that_are_not_finite_are_named():
    outputs = Outputs(torch.rand(9, 3), torch.rand(9, 2), [torch.rand(9, 2, 4, 4)])
    check_finite("a teacher", outputs, "take another")
    assert outputs.logits is not None
    outputs.logits[4, 1] = torch.nan
    with pytest.raises(StageError) as caught:
        check_finite("a teacher", outputs, "take another", first=100)
    assert str(caught.value) == (
        "a teacher gives outputs that are not finite on 1 of 9 images (number 104); take another"
    )
    outputs.features[0][:, 1, 2, 3] = torch.inf
    with pytest.raises(StageError, match=r"on 9 of 9 images \(number 0, 1, 2, 3, 4, \.\.\.\); take another"):
        check_finite("a teacher", outputs, "take another")
