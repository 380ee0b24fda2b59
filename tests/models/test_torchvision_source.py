"""torchvision's networks as backbones, against torchvision itself."""

from __future__ import annotations

import copy
import gc
import urllib.error
import weakref

import pytest
import torch
import torchvision

from benchbench.errors import BenchBenchError, UnknownNameError, WeightsError
from benchbench.models.backbone import Backbone
from benchbench.models.registry import TorchvisionParams
from benchbench.models.torchvision_source import build
from benchbench.models.weights import Weights

# Each map as (channels, side) for images of the size given; where a stage ends is known from the architectures' papers.
MAPS = {
    ("alexnet", 224): [(64, 55), (192, 27), (256, 13), (256, 6)],
    ("convnext_tiny", 224): [(96, 56), (192, 28), (384, 14), (768, 7)],
    ("densenet121", 224): [(64, 112), (128, 56), (256, 28), (512, 14), (1024, 7)],
    ("efficientnet_b0", 224): [(16, 112), (24, 56), (40, 28), (112, 14), (1280, 7)],
    ("googlenet", 224): [(64, 112), (192, 56), (480, 28), (832, 14), (1024, 7)],
    ("inception_v3", 299): [(32, 149), (64, 147), (80, 73), (192, 71), (288, 35), (768, 17), (2048, 8)],
    ("maxvit_t", 224): [(64, 112), (64, 56), (128, 28), (256, 14), (512, 7)],
    ("mnasnet0_5", 224): [(8, 112), (16, 56), (24, 28), (48, 14), (1280, 7)],
    ("mobilenet_v2", 224): [(16, 112), (24, 56), (32, 28), (96, 14), (1280, 7)],
    ("mobilenet_v3_small", 224): [(16, 112), (16, 56), (24, 28), (48, 14), (576, 7)],
    ("resnet18", 224): [(64, 56), (128, 28), (256, 14), (512, 7)],
    ("resnet50", 64): [(256, 16), (512, 8), (1024, 4), (2048, 2)],
    ("shufflenet_v2_x0_5", 224): [(24, 112), (48, 28), (96, 14), (1024, 7)],
    ("swin_t", 224): [(96, 56), (192, 28), (384, 14), (768, 7)],
    ("swin_v2_t", 384): [(96, 96), (192, 48), (384, 24), (768, 12)],
    ("vgg11", 224): [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14), (512, 7)],
    ("vit_b_16", 224): [(768, 14)] * 12,
}
WIDTHS = {"alexnet": 4096, "vgg11": 4096, "mobilenet_v3_small": 1024}  # of the last hidden layer; else the last map's
TRAINED = ["mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"]  # small enough to compute with


@pytest.mark.parametrize(("name", "size"), MAPS)
def test_shapes(name, size):
    expected = MAPS[name, size]
    with torch.device("meta"):
        model = Backbone(build(name, None), 7)
    images = torch.zeros(2, 3, size, size, device="meta")
    with torch.no_grad():
        out = model.eval()(images, features=True)
    width = WIDTHS.get(name, expected[-1][0])
    assert [tuple(each.shape) for each in out.features] == [(2, channels, side, side) for channels, side in expected]
    assert out.logits.shape == (2, 7)
    assert out.embedding.shape == (2, width)
    assert model.dim == width


@pytest.mark.parametrize("name", TRAINED)
def test_outputs_are_torchvision_s_own(name):
    model = Backbone(build(name, None), 7).eval()
    torch.manual_seed(0)
    reference = torchvision.models.get_model(name, weights=None).eval()
    inputs = []
    classifier = [part for part in reference.modules() if isinstance(part, torch.nn.Linear)][-1]
    classifier.register_forward_hook(lambda _module, given, _output: inputs.append(given[0]))
    images = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        reference((images - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        out = model(images)
        asked = model(images, features=True)
        assert model.train()(images).features == out.features == []
        assert torch.equal(out.logits, model.head(out.embedding))
    assert torch.allclose(out.embedding, inputs[0], atol=1e-5)
    assert torch.equal(asked.logits, out.logits)
    assert torch.equal(asked.embedding, out.embedding)


@torch.no_grad()
def test_the_last_map_of_a_resnet_is_what_it_pools():
    out = Backbone(build("resnet18", None), 7).eval()(torch.rand(2, 3, 64, 64), features=True)
    assert torch.allclose(out.features[-1].mean((2, 3)), out.embedding, atol=1e-5)


@torch.no_grad()
def test_swin_s_maps_are_turned_to_channels_first():
    model = Backbone(build("swin_t", None), 7).eval()
    out = model(torch.rand(1, 3, 32, 64), features=True)
    assert [tuple(each.shape[1:]) for each in out.features] == [(96, 8, 16), (192, 4, 8), (384, 2, 4), (768, 1, 2)]
    last = []
    model.trunk.features[-1].register_forward_hook(lambda _module, _given, output: last.append(output))
    out = model(torch.rand(1, 3, 64, 64), features=True)
    assert torch.equal(out.features[-1], last[0].permute(0, 3, 1, 2))


@torch.no_grad()
def test_hooks_keep_nothing_after_a_forward_pass():
    """Also one that fails; and they are as many as at first."""
    model = Backbone(build("resnet18", None), 7).eval()
    hooks = [len(part._forward_hooks) for part in model.modules()]
    images = torch.rand(2, 3, 64, 64)
    maps = model(images, features=True).features
    assert model(images).features == []
    with pytest.raises(RuntimeError):
        model(images[:, :2], features=True)
    assert len(maps) == 4
    assert model._with_features.maps.kept is None
    assert [len(part._forward_hooks) for part in model.modules()] == hooks


@torch.no_grad()
def test_a_copy_s_maps_are_its_own():
    model, images = Backbone(build("resnet18", None), 7).eval(), torch.rand(2, 3, 64, 64)
    other = copy.deepcopy(model)
    other.trunk.layer4[0].conv1.weight.zero_()
    expected = model(images, features=True).features
    actual = other(images, features=True).features
    assert [torch.equal(one, two) for one, two in zip(actual, expected, strict=True)] == [True] * 3 + [False]


def test_a_network_that_nobody_uses_is_let_go_at_once():
    model = Backbone(build("resnet18", None), 7)
    trunk = weakref.ref(model.trunk)
    gc.disable()
    try:
        del model
        assert trunk() is None
    finally:
        gc.enable()


def test_features_carry_gradients_into_the_trunk():
    model = Backbone(build("resnet18", None), 7)
    model(torch.rand(2, 3, 32, 32), features=True).features[0].square().sum().backward()
    assert model.trunk.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [32, 224])
def test_a_transformer_takes_images_of_any_size(size):
    with torch.device("meta"), torch.no_grad():
        trunk = build("vit_b_16", None)
        assert trunk.input_size == 224
        assert Backbone(trunk, 3)(torch.zeros(1, 3, size, size)).logits.shape == (1, 3)


def test_image_size_sets_the_size_that_images_are_brought_to():
    with torch.device("meta"), torch.no_grad():
        trunk = build("vit_b_16", None, image_size=64)
        assert trunk.input_size == 64
        out = Backbone(trunk, 3)(torch.zeros(1, 3, 224, 224), features=True)
    assert {tuple(each.shape[1:]) for each in out.features} == {(768, 4, 4)}


VITS = [name for name in torchvision.models.list_models(module=torchvision.models) if name.startswith("vit_")]


@pytest.mark.parametrize("name", VITS)
def test_a_transformer_has_the_size_of_its_weights_with_and_without_them(name):
    tags = torchvision.models.get_model_weights(name).__members__
    for tag in [*tags, "default"]:
        with torch.device("meta"):
            shapes = build(name, Weights(pretrained=tag.lower(), shapes_only=True))
            again = build(name, None, **TorchvisionParams.of_weights.get(f"{name}.{tag}".lower(), {}))
        expected = tags[tag.upper()].meta["min_size"][0] if tag in tags else shapes.input_size
        assert shapes.input_size == again.input_size == expected
        assert shapes.module.encoder.pos_embedding.shape == again.module.encoder.pos_embedding.shape


def test_another_size_than_that_of_the_weights_is_refused_before_they_are_downloaded():
    weights = Weights(pretrained="imagenet1k_swag_e2e_v1", shapes_only=True)
    with pytest.raises(BenchBenchError, match="does not take image_size 224 with weights of 384 px"):
        build("vit_b_16", weights, image_size=224)


@pytest.mark.parametrize(("params", "size"), [({}, 224), ({"input_size": [448, 448]}, 448)])
def test_maxvit_takes_one_size_alone(params, size):
    with torch.device("meta"), torch.no_grad():
        trunk = build("maxvit_t", None, **params)
        assert trunk.input_size == size
        assert Backbone(trunk, 3).eval()(torch.zeros(1, 3, 96, 96)).logits.shape == (1, 3)


@pytest.mark.parametrize(("tag", "licence"), [("imagenet1k_swag_linear_v1", "SWAG/blob/main/LICENSE"), ("default", "")])
def test_the_licence_is_what_torchvision_states_for_the_weights(tag, licence):
    with torch.device("meta"):
        trunk = build("vit_b_16", Weights(pretrained=tag, shapes_only=True))
    assert (trunk.licence or "").endswith(licence)
    assert bool(trunk.licence) == bool(licence)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_training_an_inception_network_gives_no_auxiliary_logits(name):
    with torch.device("meta"):
        model = Backbone(build(name, None), 3).train()
        out = model(torch.zeros(2, 3, 96, 96))
    assert isinstance(out.embedding, torch.Tensor)
    assert out.logits.shape == (2, 3)
    assert not any("aux" in parameter.lower() for parameter, _ in model.named_parameters())


def test_weights_from_a_file_are_in_the_trunk(tmp_path):
    source = torchvision.models.shufflenet_v2_x0_5()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    built = build("shufflenet_v2_x0_5", Weights(file=str(tmp_path / "w.pth"))).module.state_dict()
    assert built.keys() == {name for name in source.state_dict() if not name.startswith("fc.")}
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in built.items())


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_an_inception_network_s_own_weights_load_without_their_auxiliary_classifiers(name, tmp_path, monkeypatch):
    """torchvision's files hold the auxiliary classifiers, and its weights expect images in -1..1."""
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, **_: tensor)  # slow, and loaded over
    source = torchvision.models.get_model(name, aux_logits=True, transform_input=True, init_weights=False).eval()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = Backbone(build(name, Weights(file=str(tmp_path / "w.pth"))), 3).eval()
    inputs = []
    source.fc.register_forward_hook(lambda _module, given, _output: inputs.append(given[0]))
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        source((images - model.mean) / model.std)
        assert torch.allclose(model(images).embedding, inputs[0], atol=1e-4)
    assert not any("aux" in parameter.lower() for parameter, _ in model.named_parameters())
    again = Backbone(build(name, None), 3).eval()  # as a finished stage's network is: without the file
    again.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(again(images).logits, model(images).logits)


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_a_convolutional_classifier_is_taken_off_as_well(name, tmp_path):
    source = getattr(torchvision.models, name)()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    built = build(name, Weights(file=str(tmp_path / "w.pth")))
    images = torch.rand(2, 3, 64, 64)
    expected = source.eval().features(images).mean((2, 3))
    assert torch.allclose(built.module.eval()(images), expected, atol=1e-5)
    assert built.dim == expected.shape[1]


@pytest.mark.parametrize(
    ("name", "hint"), [("resnet81", "'resnet18'?"), ("fcn_resnet50", "'resnet50'?"), ("r3d_18", "known: alexnet, ")]
)
def test_an_unknown_name_is_suggested_for(name, hint):
    """Networks for other tasks (segmentation, video) are not classification backbones either."""
    with pytest.raises(UnknownNameError) as caught:
        build(name, None)
    assert str(caught.value).startswith(f"unknown torchvision model '{name}'; ")
    assert hint in str(caught.value)


def test_an_unknown_tag_is_suggested_for():
    with pytest.raises(UnknownNameError) as caught:
        build("resnet50", Weights(pretrained="imagenet1k_v3"))
    assert str(caught.value).startswith("torchvision/resnet50 has no weights 'IMAGENET1K_V3'; did you mean 'IMAGENET1K")


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        ("resnet18", {"dept": 3}, "unexpected keyword argument 'dept'"),
        ("resnet18", {"width_per_group": 128}, "base_width=64"),
        ("vit_b_16", {"image_size": 30}, "indivisible by patch size"),
        ("mobilenet_v2", {"inverted_residual_setting": [1]}, "TypeError"),
        ("resnet18", {"weights": "IMAGENET1K_V1"}, "multiple values for"),
    ],
)
def test_params_that_do_not_fit_are_one_line(name, params, reason):
    with pytest.raises(BenchBenchError) as caught, torch.device("meta"):
        build(name, None, **params)
    message = str(caught.value)
    assert message.startswith(f"torchvision/{name} does not take these params: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("tag", ["default", "imagenet1k_v1"])
def test_weights_that_cannot_be_downloaded_are_one_line(tag, monkeypatch, tmp_path):
    def refused(*_args, **_kwargs):
        raise urllib.error.URLError("the network is closed")

    monkeypatch.setattr("torch.hub.urlopen", refused)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        build("shufflenet_v2_x0_5", Weights(pretrained=tag))
    message = str(caught.value)
    assert message.startswith("the pre-trained weights of torchvision/shufflenet_v2_x0_5 could not be had (URLError")
    assert message.endswith("check the network, or download them elsewhere and write `weights: {file: PATH}`")
    assert "\n" not in message


def test_a_source_without_a_name_says_how_to_write_one():
    with pytest.raises(UnknownNameError, match="write torchvision/NAME"):
        build("", None)
