"""Networks for images of other than three channels."""

import pytest
import timm
import torch

from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import FileSpec, ModelSpec, WeightsSpec


def built(source: str, name: str, channels: int, **fields):
    params = {"in_chans": channels} if channels != 3 else {}
    spec = ModelSpec(source=source, name=name, params=params, **fields)
    return build_backbone(spec, "student", load_plugins().registry, 4)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_timm(name, channels):
    model = built("timm", name, channels)
    size = model.input_size or 64
    assert model(torch.rand(2, channels, size, size)).logits.shape == (2, 4)
    rgb = built("timm", name, 3)
    expected = rgb.mean.mean(1) if channels == 1 else rgb.mean[:, [0, 1, 2, 0]]
    assert torch.allclose(model.mean.flatten(), expected.flatten())


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "shufflenet_v1", "shufflenet_v2", "mobilenetv2_half"])
def test_cifar(name):
    torch.manual_seed(0)
    model, rgb = built("cifar", name, 2), built("cifar", name, 3)
    assert model(torch.rand(2, 2, 32, 32)).logits.shape == (2, 4)
    first, other = (next(part for part in each.modules() if isinstance(part, torch.nn.Conv2d)) for each in (model, rgb))
    assert (first.stride, first.padding, first.kernel_size) == (other.stride, other.padding, other.kernel_size)
    assert first.weight.std().item() == pytest.approx(other.weight.std().item(), rel=0.35)


def test_given_normalisation():
    model = built("timm", "test_resnet", 2, mean=(0.25, 0.75), std=(0.5, 0.5))
    assert model.mean.flatten().tolist() == [0.25, 0.75]


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_of_a_file_are_adapted_as_timm_adapts_published_ones(channels, tmp_path):
    published = timm.create_model("test_resnet", num_classes=4)
    torch.save(published.state_dict(), tmp_path / "weights.pt")
    file = FileSpec(path=str(tmp_path / "weights.pt"), content="c")
    model = built("timm", "test_resnet", channels, weights=WeightsSpec(file=file))
    name = published.pretrained_cfg["first_conv"]
    expected = timm.models.adapt_input_conv(channels, published.get_submodule(name).weight)
    assert torch.equal(model.trunk.get_submodule(name).weight, expected)
    others = {key: value for key, value in model.trunk.state_dict().items() if not key.startswith(name)}
    assert all(torch.equal(value, published.state_dict()[key]) for key, value in others.items())
