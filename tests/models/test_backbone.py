"""A backbone normalises, resizes, classifies and freezes, whatever network is inside."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import timm
import torch
from torch import nn

from benchbench.errors import BenchBenchError, UnknownNameError, WeightsError
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.build import build_backbone, published_head
from benchbench.plugins import load_plugins
from benchbench.specs.parts import FileSpec, ModelSpec, WeightsSpec

MEAN, STD = (0.1, 0.4, 0.7), (0.5, 0.25, 2.0)


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


class Pooled(nn.Module):
    """The channel means, so that an embedding can be worked out by hand; remembers what it was given."""

    def forward(self, images):
        self.seen = images
        return images.mean((2, 3))


def backbone(classes=4, **trunk) -> Backbone:
    return Backbone(Trunk(Pooled(), 3, MEAN, STD, **trunk), classes)


def spec(source="timm", name="test_resnet", **changes) -> ModelSpec:
    return ModelSpec(source=source, name=name, **changes)


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Antialiased bilinear: each output pixel is a mean of input pixels under a triangle as wide as the reduction."""

    def weights(count: int) -> np.ndarray:
        scale = count / size
        reach = max(scale, 1.0)
        centres = (np.arange(size) + 0.5) * scale
        away = np.abs(np.arange(count) + 0.5 - centres[:, None])
        triangle = np.maximum(0, 1 - away / reach)
        return triangle / triangle.sum(1, keepdims=True)

    height, width = pixels.shape[-2:]
    return weights(height) @ pixels @ weights(width).T


def test_images_are_normalised_with_the_model_s_own_statistics():
    model = backbone()
    images = torch.rand(5, 3, 6, 6)
    out = model(images)
    expected = (images.double().numpy().mean((2, 3)) - MEAN) / STD
    assert np.allclose(out.embedding.numpy(), expected, atol=1e-6)
    head = model.head
    by_hand = out.embedding.double() @ head.weight.double().T + head.bias.double()
    assert out.logits.shape == (5, 4)
    assert torch.allclose(out.logits.double(), by_hand, atol=1e-6)


def test_without_classes_there_is_no_head_and_no_logits():
    model = backbone(classes=None)
    out = model(torch.rand(2, 3, 6, 6))
    assert model.head is None
    assert out.logits is None
    assert out.embedding.shape == (2, 3)


@pytest.mark.parametrize("shape", [(24, 24), (7, 7), (30, 13), (5, 40)])
def test_images_of_another_size_are_resized_antialiased(shape):
    model = backbone(input_size=10)
    images = torch.rand(2, 3, *shape)
    model(images)
    statistics = [np.array(value).reshape(1, 3, 1, 1) for value in (MEAN, STD)]
    expected = (resized(images.double().numpy(), 10) - statistics[0]) / statistics[1]
    assert model.trunk.seen.shape == (2, 3, 10, 10)
    assert np.allclose(model.trunk.seen.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("input_size", [None, 12])
def test_images_of_the_right_size_are_left_as_they_are(input_size):
    model = backbone(input_size=input_size)
    images = torch.rand(2, 3, 12, 12)
    model(images)
    assert torch.equal(model.trunk.seen, (images - model.mean) / model.std)


def test_features_come_only_when_asked_for():
    calls = []

    def with_features(images):
        calls.append(images)
        return images.mean((2, 3)), [images]

    model = backbone(with_features=with_features, input_size=4)
    images = torch.rand(2, 3, 8, 8)
    plain = model(images)
    assert plain.features == []
    assert calls == []
    asked = model(images, features=True)
    assert [tuple(each.shape) for each in asked.features] == [(2, 3, 4, 4)]
    assert torch.equal(calls[0], model.trunk.seen)  # normalised and resized, as without features
    assert torch.equal(asked.logits, plain.logits)


def test_a_network_without_features_gives_none():
    assert backbone()(torch.rand(1, 3, 6, 6), features=True).features == []


def test_the_state_is_the_weights_and_the_statistics_that_go_with_them():
    model = Backbone(Trunk(nn.Sequential(nn.Conv2d(3, 3, 1), Pooled()), 3, MEAN, STD), 4)
    assert set(model.state_dict()) == {"mean", "std", "trunk.0.weight", "trunk.0.bias", "head.weight", "head.bias"}
    other = Backbone(Trunk(nn.Sequential(nn.Conv2d(3, 3, 1), Pooled()), 3, (0.0,) * 3, (1.0,) * 3), 4)
    other.load_state_dict(model.state_dict(), strict=True)
    images = torch.rand(2, 3, 6, 6)
    assert torch.equal(other(images).logits, model(images).logits)


@torch.no_grad()
def test_a_network_rebuilt_without_its_pre_trained_weights_sees_the_same(registry, monkeypatch):
    """These weights of timm's were trained on images in 0..1; the architecture's default ones were not."""
    name = "mobilenetv3_large_100"
    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *given, **options: real(*given, **options | {"pretrained": False}))
    model = build_backbone(spec(name=name, weights=WeightsSpec(pretrained="miil_in21k")), "teacher", registry, 3).eval()
    assert model.mean.flatten().tolist() == [0, 0, 0]
    again = build_backbone(spec(name=name), "teacher", registry, 3).eval()
    assert again.mean.flatten().tolist() != [0, 0, 0]
    again.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(images).logits, model(images).logits)


def normalised_trunk() -> Trunk:
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return Trunk(module, 5, MEAN, STD)


def test_frozen_stays_in_eval_mode_and_as_it_is():
    model = Backbone(normalised_trunk(), 4)
    assert model.freeze() is model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for mode in (True, False):
        model.train(mode)
        assert not any(part.training for part in model.modules())
        first, second = (model(torch.full((2, 3, 8, 8), 0.9)).logits for _ in range(2))
        assert torch.equal(first, second)  # no dropout
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_frozen_trunk_lets_its_head_learn():
    model = Backbone(normalised_trunk(), 4).freeze(head=False)
    model.train()
    assert not any(part.training for part in model.trunk.modules())
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        "head.weight",
        "head.bias",
    }
    before = {name: tensor.clone() for name, tensor in model.trunk.state_dict().items()}
    model(torch.rand(2, 3, 8, 8)).logits.square().sum().backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.trunk.state_dict().items())


def test_a_dropped_trunk_is_freed_and_the_head_stays():
    def build() -> Backbone:
        module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
        trunk = Trunk(module, 5, (0.0,) * 3, (1.0,) * 3, with_features=lambda images: (module(images), [images]))
        return Backbone(trunk, classes=2).freeze()

    model = build()
    trunk_reference, head = weakref.ref(model.trunk), model.head
    model.drop_trunk()
    gc.collect()
    assert trunk_reference() is None
    assert (model.head, model.dim, model.classes) == (head, 5, 2)


def test_without_freezing_train_mode_is_train_mode():
    model = Backbone(normalised_trunk(), 4).eval()
    model.train()
    assert all(part.training for part in model.modules())


def test_build_takes_statistics_and_size_from_the_spec(registry):
    model = build_backbone(spec(mean=(0.2, 0.3, 0.4), std=(1, 2, 3), input_size=32), "student", registry, 7)
    assert model.mean.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
    assert model.std.flatten().tolist() == [1, 2, 3]
    assert model.input_size == 32
    assert model.head.out_features == 7


def test_build_keeps_the_model_s_own_statistics(registry):
    model = build_backbone(spec("torchvision", "shufflenet_v2_x0_5"), "teacher", registry, None)
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert model.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert model.head is None


def test_build_draws_its_weights_from_the_seed(registry):
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(build_backbone(spec(), "student", registry, 3).state_dict())
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])
    assert not torch.equal(built[0]["head.weight"], built[2]["head.weight"])


def test_build_passes_params_on(registry):
    model = build_backbone(spec(params={"in_chans": 3, "drop_rate": 0.5}), "student", registry, 3)
    assert model.trunk.drop_rate == 0.5


def test_build_loads_the_weights_of_the_spec(registry, tmp_path):
    torch.manual_seed(3)
    trained = timm.create_model("test_resnet", num_classes=4)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    weights = WeightsSpec(file=FileSpec(path=str(tmp_path / "w.pth"), content="of no use here"))
    model = build_backbone(spec(weights=weights), "student", registry, 4, published="abcd")
    assert torch.equal(model.trunk.conv1[0].weight, trained.conv1[0].weight)
    assert torch.equal(model.head.weight, trained.fc.weight)


def headed(width: int, **changes) -> Trunk:
    return Trunk(Pooled(), 3, MEAN, STD, head=nn.Linear(3, width), **changes)


WEIGHTS = {"weights": WeightsSpec(pretrained="default")}


def test_the_published_classifier_has_the_data_set_s_classes_in_its_order():
    trunk = headed(1000)
    names = ("n02102040", "French_horn", "tench")
    head = published_head(trunk, spec(**WEIGHTS), names)
    assert torch.equal(head.weight, trunk.head.weight[[217, 566, 0]])
    assert torch.equal(head.bias, trunk.head.bias[[217, 566, 0]])
    own = headed(3, class_names=("c", "a", "b"))
    assert torch.equal(published_head(own, spec(**WEIGHTS), ("a", "b", "c")).bias, own.head.bias[[1, 2, 0]])
    trained = spec(weights=WeightsSpec(pretrained="default", classes=("b", "c", "a")))
    assert torch.equal(published_head(own, trained, ("a", "b", "c")).bias, own.head.bias[[2, 0, 1]])
    assert published_head(headed(3), spec(**WEIGHTS), ("x", "y", "z")).out_features == 3


@pytest.mark.parametrize(
    ("trunk", "names", "problem"),
    [
        (headed(4), "abcde", "come with a classifier of 4 classes, and the data set has 5"),
        (headed(1000), ("tench", "cat"), "come with a classifier of 1000 classes, and the data set's 'cat' is none of"),
        (headed(2, class_names=("a", "b")), "bc", "of 2 classes, and the data set's 'c' is none of them (known: a, b)"),
        (headed(1000), ("tench", "n01440764"), "and the data set's 'tench' and 'n01440764' are the same one of them"),
        (Trunk(Pooled(), 3, MEAN, STD), "ab", "come without a classifier of one linear layer, and `published` tests"),
        (Trunk(Pooled(), 3, MEAN, STD, head=nn.Linear(5, 2)), "ab", "come without a classifier of one linear layer"),
    ],
)
def test_weights_without_such_a_classifier_are_refused(trunk, names, problem):
    with pytest.raises(WeightsError) as caught:
        published_head(trunk, spec(**WEIGHTS), names)
    assert str(caught.value).startswith("the weights of timm/test_resnet come with")
    assert problem in str(caught.value)
    assert str(caught.value).endswith("; use linear_probe or finetune")


def test_an_unknown_source_is_suggested_for(registry):
    with pytest.raises(UnknownNameError, match="unknown student 'tim'; did you mean 'timm'"):
        build_backbone(spec("tim"), "student", registry, 3)


@pytest.mark.parametrize("source", ["timm", "torchvision"])
@pytest.mark.parametrize("name", ["name", "weights"])
def test_params_cannot_stand_for_other_parts_of_the_spec(registry, source, name):
    model = {"timm": "test_resnet", "torchvision": "resnet18"}[source]
    with pytest.raises(BenchBenchError, match=f"{source}/{model} does not take these params") as caught:
        build_backbone(spec(source, model, params={name: "x"}), "student", registry, 3)
    assert "\n" not in str(caught.value)
