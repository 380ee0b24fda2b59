"""The distillation token: a head of its own in training, the mean of both heads in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.timm_source import build

SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "depth": 2, "num_heads": 3}
CLASSES = 5


def distilled(seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    model = Backbone(build("deit_tiny_distilled_patch16_224", None, **SMALL), CLASSES)
    # At the start both tokens are next to 0 and nearly the same; trained ones differ.
    with torch.no_grad():
        model.trunk.cls_token.normal_()
        model.trunk.dist_token.normal_()
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def tokens(model: Backbone, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Class and distillation token behind the last block, by timm's own forward pass."""
    outputs = model.trunk.forward_features((images - model.mean) / model.std)
    return outputs[:, 0], outputs[:, 1]


@pytest.mark.parametrize("features", [False, True])
@torch.no_grad()
def test_in_training_each_token_has_its_head(images, features):
    model = distilled()
    model.add_token_head()
    out = model.train()(images, features)
    first, second = tokens(model, images)
    assert (first - second).abs().max() > 0.1
    assert torch.allclose(out.logits, model.head(first), atol=1e-5)
    assert torch.allclose(out.token_logits, model.token_head(second), atol=1e-5)
    assert out.token_logits.shape == (3, CLASSES)
    assert torch.allclose(out.embedding, (first + second) / 2, atol=1e-5)
    assert [tuple(each.shape) for each in out.features] == ([(3, 12, 2, 2)] * 2 if features else [])


@pytest.mark.parametrize("features", [False, True])
@torch.no_grad()
def test_in_evaluation_the_logits_are_the_mean_of_both_heads(images, features):
    model = distilled()
    model.add_token_head()
    out = model.eval()(images, features)
    first, second = tokens(model, images)
    assert torch.allclose(out.logits, (model.head(first) + model.token_head(second)) / 2, atol=1e-5)
    assert not torch.allclose(out.logits, model.head(first), atol=1e-2)
    assert torch.allclose(out.embedding, (first + second) / 2, atol=1e-5)
    assert len(out.features) == (2 if features else 0)


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_without_that_head_the_logits_are_of_the_tokens_mean(images, training):
    model = distilled().train(training)
    first, second = tokens(model, images)
    for features in (False, True):
        out = model(images, features)
        assert out.token_logits is None
        assert torch.allclose(out.logits, model.head((first + second) / 2), atol=1e-5)
        assert torch.allclose(out.embedding, (first + second) / 2, atol=1e-5)
        assert len(out.features) == (2 if features else 0)
    assert not any("token_head" in name for name in model.state_dict())


@torch.no_grad()
def test_maps_and_embedding_are_the_same_with_and_without_the_head(images):
    with_it, without = distilled().eval(), distilled().eval()
    with_it.add_token_head()
    outputs, plain = with_it(images, True), without(images, True)
    assert torch.allclose(outputs.embedding, plain.embedding, atol=1e-6)
    assert all(torch.equal(*pair) for pair in zip(outputs.features, plain.features, strict=True))


def test_gradients_reach_each_token_by_its_own_head(images):
    """Through attention every parameter of the trunk hears of both; the heads do not mix."""
    model = distilled()
    model.add_token_head()
    model.train()(images).token_logits.square().sum().backward()
    assert model.token_head.weight.grad.abs().sum() > 0
    assert model.trunk.dist_token.grad.abs().sum() > 0
    assert model.head.weight.grad is None


def test_the_head_is_saved_with_the_network(images):
    model, other = distilled(0), distilled(1)
    for each in (model, other):
        each.add_token_head()
    assert not torch.equal(model.token_head.weight, other.token_head.weight)
    other.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(model.eval()(images).logits, other.eval()(images).logits)


@pytest.mark.parametrize("head", [True, False])
def test_a_frozen_network_s_heads_are_alike(head):
    """A linear probe trains both heads: the logits are the mean of the two."""
    model = distilled()
    model.add_token_head()
    model.freeze(head=head)
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    heads = {f"{part}.{kind}" for part in ("head", "token_head") for kind in ("weight", "bias")}
    assert trains == (set() if head else heads)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@torch.no_grad()
def test_other_networks_stay_as_they_are(name, images):
    model = Backbone(build(name, None), CLASSES)
    before = model.eval()(images, True).logits
    names = set(model.state_dict())
    model.add_token_head()
    assert model.token_head is None
    assert set(model.state_dict()) == names
    out = model.eval()(images, True)
    assert torch.equal(out.logits, before)
    assert out.token_logits is None


def test_a_network_without_a_task_has_no_head_for_its_token(images):
    model = Backbone(build("deit_tiny_distilled_patch16_224", None, **SMALL), None)
    model.add_token_head()
    assert model.token_head is None
    assert model(images).logits is None


def test_a_source_may_offer_a_token_without_timm(images):
    """The contract of `Trunk.with_token` is all that a source has to keep."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    maps = [torch.ones(3, 2, 4, 4)]
    trunk = Trunk(module, 4, (0.5,) * 3, (0.25,) * 3, with_token=lambda x: (module(x), -module(x), maps))
    model = Backbone(trunk, CLASSES)
    model.add_token_head()
    with torch.no_grad():
        out = model.train()(images, True)
        embedding = module((images - 0.5) / 0.25)
        assert torch.allclose(out.logits, model.head(embedding), atol=1e-5)
        assert torch.allclose(out.token_logits, model.token_head(-embedding), atol=1e-5)
    assert torch.allclose(out.embedding, torch.zeros(3, 4), atol=1e-6)
    assert out.features is maps
