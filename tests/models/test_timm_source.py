"""timm's networks as backbones, against timm itself."""

from __future__ import annotations

import huggingface_hub.constants
import pytest
import timm
import torch
from timm.models import save_for_hf

from benchbench.errors import BenchBenchError, UnknownNameError, WeightsError
from benchbench.models.backbone import Backbone
from benchbench.models.timm_source import build
from benchbench.models.weights import Weights

CONVOLUTIONAL = [
    "test_byobnet",
    "test_convnext",
    "test_efficientnet",
    "test_efficientnet_gn",
    "test_nfnet",
    "test_resnet",
]
MIXED = ["test_maxvit"]  # convolutions and attention, of one input size
TRANSFORMERS = ["test_vit", "test_vit2", "test_vit3"]


@torch.no_grad()
def forward(model: Backbone, size: int, features: bool = False):
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(3))
    return images, model.eval()(images, features)


@pytest.mark.parametrize("name", CONVOLUTIONAL + MIXED + TRANSFORMERS)
def test_outputs_are_timm_s_own(name):
    trunk = build(name, None)
    model = Backbone(trunk, 7)
    images, out = forward(model, 64)
    assert out.logits.shape == (2, 7)
    assert out.embedding.shape == (2, trunk.dim)
    assert out.features == []
    assert torch.equal(out.logits, model.head(out.embedding))

    reference = timm.create_model(name, num_classes=0).eval()
    reference.load_state_dict(trunk.module.state_dict(), strict=True)
    config = timm.data.resolve_model_data_config(reference)
    statistics = (torch.tensor(config[part]).view(3, 1, 1) for part in ("mean", "std"))
    if name not in CONVOLUTIONAL:  # these take one size
        assert trunk.input_size == config["input_size"][-1]
        size = (trunk.input_size,) * 2
        images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
    else:
        assert trunk.input_size is None
    mean, std = statistics
    with torch.no_grad():
        assert torch.allclose(reference((images - mean) / std), out.embedding, atol=1e-5)


@pytest.mark.parametrize("name", CONVOLUTIONAL + MIXED + TRANSFORMERS)
def test_features_are_maps_from_shallow_to_deep(name):
    model = Backbone(build(name, None), 7)
    _, plain = forward(model, 64)
    _, out = forward(model, 64, features=True)
    assert torch.allclose(out.embedding, plain.embedding, atol=1e-6)
    assert torch.allclose(out.logits, plain.logits, atol=1e-6)
    assert len(out.features) >= 3
    assert all(each.ndim == 4 and each.shape[0] == 2 and each.shape[2] == each.shape[3] for each in out.features)
    sides = [each.shape[-1] for each in out.features]
    if name in TRANSFORMERS:
        assert {tuple(each.shape[1:]) for each in out.features} == {(model.dim, 10, 10)}
    else:
        # One map a size; a last 1x1 convolution, whose output is what is pooled, adds one of the last size.
        assert sides[:-1] == sorted(set(sides), reverse=True)[: len(sides) - 1]


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_the_last_map_is_what_is_pooled(name):
    """EfficientNet pools the output of a convolution behind its last stage."""
    _, out = forward(Backbone(build(name, None), 7), 64, features=True)
    assert torch.allclose(out.features[-1].mean((2, 3)), out.embedding, atol=1e-6)


def test_a_resnet_runs_from_each_of_its_maps_on():
    model = Backbone(build("test_resnet", None), 7)
    _, out = forward(model, 64, features=True)
    for index, value in enumerate(out.features[:-1]):
        rest = model.rest(index, value)
        assert torch.equal(rest.logits, out.logits)
        assert [*map(torch.equal, rest.features, out.features[index + 1 :])] == [True] * (4 - index)
    assert not Backbone(build("test_efficientnet", None), 7).has_rest


def test_features_carry_gradients_into_the_trunk():
    model = Backbone(build("test_resnet", None), 7)
    model(torch.rand(2, 3, 32, 32), features=True).features[1].square().sum().backward()
    assert model.trunk.conv1[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [8, 96, 224])
def test_a_transformer_takes_images_of_any_size(size):
    model = Backbone(build("test_vit", None), 3)
    _, out = forward(model, size, features=True)
    assert out.logits.shape == (2, 3)
    assert out.features[-1].shape == (2, model.dim, 10, 10)


def test_img_size_sets_the_size_that_images_are_brought_to():
    trunk = build("test_vit", None, img_size=96)
    assert trunk.input_size == 96
    _, out = forward(Backbone(trunk, 3), 64, features=True)
    assert out.features[-1].shape[2:] == (6, 6)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("vit_base_patch16_224.augreg_in21k", (0.5, 0.5, 0.5)),
        ("vit_base_patch16_224.dino", (0.485, 0.456, 0.406)),
    ],
)
def test_a_tag_decides_the_statistics(name, mean):
    with torch.device("meta"):
        assert build(name, None).mean == mean


def test_dropout_is_off_in_eval_mode_and_on_in_train_mode():
    model = Backbone(build("test_resnet", None, drop_rate=0.5), 3)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.eval()(images).embedding, model(images).embedding)
    model.train()
    assert (model(images).embedding == 0).float().mean() > 0.2


def test_weights_from_a_file_are_in_the_trunk(tmp_path):
    source = timm.create_model("test_resnet")
    torch.save(source.state_dict(), tmp_path / "w.pth")
    trunk = build("test_resnet", Weights(file=str(tmp_path / "w.pth")))
    built = trunk.module.state_dict()
    assert built.keys() == {name for name in source.state_dict() if not name.startswith("fc.")}
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in built.items())


@pytest.mark.parametrize("classes", [7, 1000])
def test_every_head_of_a_distilled_transformer_is_left_out(tmp_path, classes):
    """deit's distilled networks have two classifiers."""
    small = {"embed_dim": 48, "depth": 1, "num_heads": 3}
    source = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=classes, **small)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    trunk = build("deit_tiny_distilled_patch16_224", Weights(file=str(tmp_path / "w.pth")), **small)
    assert torch.equal(trunk.module.dist_token, source.dist_token)
    assert trunk.module(torch.zeros(1, 3, 224, 224)).shape == (1, trunk.dim)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_resnett", "unknown timm model 'test_resnett'; did you mean 'test_resnet'?"),
        ("test_resnett.r160_in1k", "unknown timm model 'test_resnett.r160_in1k'; did you mean 'test_resnet'?"),
    ],
)
def test_an_unknown_name_is_suggested_for(name, expected):
    with pytest.raises(UnknownNameError) as caught:
        build(name, None)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("name", "tag"),
    [("test_resnet", "r160_in2k"), ("test_resnet.r160_in2k", "default"), ("test_resnet.a", "r160_in2k")],
)
def test_an_unknown_tag_is_suggested_for(name, tag):
    with pytest.raises(UnknownNameError) as caught:
        build(name, Weights(pretrained=tag))
    assert str(caught.value) == "timm/test_resnet has no weights 'r160_in2k'; did you mean 'r160_in1k'?"


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        ("test_resnet", {"dept": 3}, "unexpected keyword argument 'dept'"),
        ("test_resnet", {"in_chans": "three"}, "TypeError"),
        ("test_resnet", {"act_layer": "no_such"}, "KeyError: 'no_such'"),
        ("test_resnet", {"pretrained": True}, "pretrained"),
        ("test_vit", {"num_heads": 7}, "num_heads"),
        ("test_resnet", {"features_only": True}, "with these params is no classification backbone"),
        ("test_resnet.no_such_tag", {}, "cannot be built: RuntimeError: Invalid pretrained tag"),
    ],
)
def test_params_that_do_not_fit_are_one_line(name, params, reason):
    with pytest.raises(BenchBenchError) as caught:
        build(name, None, **params)
    message = str(caught.value)
    assert message.startswith(f"timm/{name} ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("tag", ["default", "r160_in1k"])
def test_weights_that_cannot_be_downloaded_are_one_line(tag, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        build("test_resnet", Weights(pretrained=tag), cache_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith("the pre-trained weights of timm/test_resnet")
    assert message.endswith("check the network, or download them elsewhere and write `weights: {file: PATH}`")
    assert "\n" not in message


def test_a_source_without_a_name_says_how_to_write_one():
    with pytest.raises(UnknownNameError, match="write timm/NAME"):
        build("", None)


def test_a_model_of_the_hub(tmp_path, monkeypatch):
    """Out of the hub's own cache on disk: nothing is downloaded."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    source, revision = timm.create_model("test_resnet", num_classes=5), "0" * 40
    repository = tmp_path / "models--somebody--tiny"
    source.pretrained_cfg["license"] = "mit"
    save_for_hf(source, repository / "snapshots" / revision, safe_serialization=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    for name in ("hf-hub:somebody/tiny", f"hf-hub:somebody/tiny@{revision}"):
        trunk = build(name, Weights(pretrained="default"))
        assert torch.equal(trunk.module.conv1[0].weight, source.conv1[0].weight)
        assert trunk.head.out_features == 5
        assert trunk.licence == "mit"
    random = build("hf-hub:somebody/tiny", None)
    assert not torch.equal(random.module.conv1[0].weight, source.conv1[0].weight)
    assert random.licence is None
    with pytest.raises(WeightsError, match=r"timm/hf-hub:nobody/none could not be had .* check the network"):
        build("hf-hub:nobody/none", None)
