"""Frozen networks of a stage: FLOPs counted on shapes alone, and outputs that are not finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.execution import tf32
from benchbench.execution.network import ExecutionConfig
from benchbench.models.build import build_backbone
from benchbench.models.outputs import Outputs
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec
from benchbench.stages import float32, networks
from benchbench.stages.data import SplitData
from benchbench.stages.float32 import float32_of
from benchbench.stages.networks import check_finite, fingerprint, forward_flops, sample_of, tuned
from tests.specs import calibration_spec, recipe_spec, training_spec
from tests.stages.contexts import stage_context


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
        mean = torch.zeros(1, 3, 1, 1)

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


def test_ways_are_compared_on_the_first_images(tmp_path):
    """A compiled network, which is made for one batch size, on a batch of them."""
    context = stage_context(
        training_spec(recipe=recipe_spec(batch_size=20, image_size=32)), tmp_path / "stage", load_plugins().registry
    )
    loader = SplitData(context).train
    first = next(loader.test_batches(20))
    for config, count in ((ExecutionConfig(), 16), (ExecutionConfig(compile="default"), 20)):
        sample = sample_of(context, loader, config)
        assert torch.equal(sample.images, first.images[:count])
        assert torch.equal(sample.labels, first.labels[:count])


def test_a_lower_precision_is_looked_at_on_the_first_training_batches(tmp_path, monkeypatch):
    """Images of all classes; those of the first ones in order may be of one."""
    monkeypatch.setattr(networks, "COMPARED", 50)
    context = stage_context(
        training_spec(recipe=recipe_spec(batch_size=20, image_size=32)), tmp_path / "stage", load_plugins().registry
    )
    loader = SplitData(context).train
    sample = sample_of(context, loader, ExecutionConfig("bf16"))
    batches = list(loader.train_batches(context.spec.view_seed, 0, 20, 0))[:3]
    assert torch.equal(sample.images, torch.cat([batch.images for batch in batches])[:50])
    assert torch.equal(sample.labels, torch.cat([batch.labels for batch in batches])[:50])
    assert len(sample.labels.unique()) > 5


@pytest.mark.parametrize("precision", ["exact", "fp32", "auto", "bf16"])
def test_only_exact_has_no_tf32(precision, tmp_path, monkeypatch):
    """As torch is set during a stage, and as its record says."""
    monkeypatch.setattr(float32, "has_tf32", lambda device: True)
    monkeypatch.setattr(
        float32, "tf32_convolutions", lambda device, on: tf32.tf32_convolutions(torch.device("cuda"), on)
    )
    training = training_spec(recipe=recipe_spec(precision=precision))
    for spec in (training, calibration_spec(precision=precision)):
        context = stage_context(spec, tmp_path / spec.kind, load_plugins().registry)
        with float32_of(context):
            assert torch.backends.cudnn.allow_tf32 is (precision != "exact")
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    context = stage_context(training, tmp_path / "cell", load_plugins().registry)
    assert tuned(context, "student").record().tf32 is (precision != "exact")
