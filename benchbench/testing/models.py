"""The contract of a model source: a trunk with the embedding, maps, weights and normalisation that it declares."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from benchbench.components import Component
from benchbench.errors import BenchBenchError, UnknownNameError, one_line
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.outputs import Outputs
from benchbench.models.weights import Weights
from benchbench.seeds import seed_everything
from benchbench.testing.check import Call, Options, require

SIZE, COUNT = 96, 4  # pixels and images, where the network takes any size


@dataclass(frozen=True)
class ModelCase:
    """A model source, the name of one of its networks, and parameters."""

    component: Component
    model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def trunk(self, seed: int = 0, weights: Weights | None = None) -> Trunk:
        """The trunk as a stage builds it, with random weights drawn from that seed."""
        seed_everything(seed, torch.device("cpu"))
        return self.component.load()(self.model, weights, **self.params)

    def backbone(self, seed: int = 0) -> Backbone:
        return Backbone(self.trunk(seed), classes=None)

    def images(self, model: Backbone, count: int = COUNT, size: int = SIZE) -> Tensor:
        """Images in 0..1, of the only size that the network takes where it takes one alone."""
        size = model.input_size or size
        return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size))


def check_trunk(case: ModelCase) -> None:
    """A network, its width, its normalisation and its input size."""
    trunk = case.trunk()
    require(isinstance(trunk, Trunk), f"it gives a {type(trunk).__name__}: give a benchbench.models.backbone.Trunk")
    require(isinstance(trunk.module, nn.Module), f"module is a {type(trunk.module).__name__}: give a torch.nn.Module")
    require(type(trunk.dim) is int and trunk.dim > 0, f"dim is {trunk.dim!r}: give the embedding's width")
    for name in ("mean", "std"):
        value = getattr(trunk, name)
        three = isinstance(value, tuple | list) and len(value) == 3 and all(isinstance(v, int | float) for v in value)
        require(three, f"{name} is {value!r}: give three numbers, one per channel")
        require(max(value) <= 1, f"{name} is {value!r}: images are in 0..1, so divide by 255")
    require(min(trunk.std) > 0, f"std is {trunk.std!r}: images are divided by it")
    size = trunk.input_size
    require(size is None or (type(size) is int and size > 0), f"input_size is {size!r}: give pixels, or None for any")


def check_embedding(case: ModelCase) -> None:
    """[B, dim], finite."""
    model = case.backbone().eval()
    with torch.no_grad():
        embedding = model(case.images(model)).embedding
    require(isinstance(embedding, Tensor), f"the network gives a {type(embedding).__name__}: give the embedding alone")
    _require_shape(embedding, COUNT, model)
    require(embedding.isfinite().all(), "its embedding is not finite with fresh weights")


def check_single(case: ModelCase) -> None:
    """An image's embedding in eval mode depends on that image alone."""
    model = case.backbone().eval()
    images = case.images(model)
    with torch.no_grad():
        together, alone = model(images).embedding, model(images[:1]).embedding
    _require_shape(alone, 1, model)
    near = torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-3 * max(alone.abs().max().item(), 1e-6))
    require(near, "an image's embedding depends on the rest of its batch: use running statistics in eval mode")


def check_determinism(case: ModelCase) -> None:
    """Eval mode draws nothing, and fresh weights come from torch's global generator alone."""
    first, second = case.backbone(seed=1).eval(), case.backbone(seed=1).eval()
    images = case.images(first)
    with torch.no_grad():
        again = [first(images).embedding for _ in range(2)]
        require(torch.equal(*again), "eval mode gives other embeddings every time: draw in training mode alone")
        same = torch.equal(again[0], second(images).embedding)
    require(same, "the same seed gives other weights: draw them from torch's global generator")


def check_sizes(case: ModelCase) -> None:
    """Images of an odd size, unless the network says that it takes one size alone."""
    model = case.backbone().eval()
    size = (model.input_size or SIZE) + 1
    images = torch.rand(COUNT, 3, size, size)
    try:
        with torch.no_grad():
            embedding = model(images).embedding
    except Exception as error:
        advice = "set the trunk's input_size, or pool to one size"
        raise AssertionError(f"it fails on images of {size} px ({one_line(error)[:200]}): {advice}") from error
    _require_shape(embedding, COUNT, model, f" for images of {size} px")


def check_gradients(case: ModelCase) -> str | None:
    """Its parameters train."""
    model = case.backbone().train()
    require(list(model.parameters()), "it has no parameters: register its layers on the module")
    embedding = model(case.images(model)).embedding
    require(embedding.requires_grad, "no gradient reaches its parameters: something detaches them")
    (embedding * torch.randn_like(embedding)).sum().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    reached = [grad for grad in grads.values() if grad is not None]
    require(any(grad.abs().sum() > 0 for grad in reached), "every gradient of its parameters is 0")
    require(all(grad.isfinite().all() for grad in reached), "a gradient of its parameters is not finite")
    unused = [name for name, grad in grads.items() if grad is None]
    return f"{len(unused)} parameters do not train, {unused[0]} among them" if unused else None


def check_features(case: ModelCase) -> str | None:
    """Maps, where there are any: [B, C, H, W], shallow to deep, together with the same embedding."""
    trunk = case.trunk()
    if trunk.with_features is None:
        return "no maps (with_features is None), so losses that need features refuse this network"
    model = Backbone(trunk, classes=None).eval()
    images = case.images(model)
    with torch.no_grad():
        plain = model(images).embedding
    outputs = model(images, features=True)
    near = plain.shape == outputs.embedding.shape and torch.allclose(plain, outputs.embedding, rtol=1e-3, atol=1e-4)
    require(near, "with_features gives another embedding than the network itself")
    maps = outputs.features
    require(len(maps), "with_features gives no maps: set it to None where there are none")
    for index, each in enumerate(maps):
        shape = list(each.shape)
        require(each.ndim == 4, f"map {index} has shape {shape}: give [B, C, H, W], tokens as maps")
        require(shape[0] == COUNT, f"map {index} has shape {shape} for {COUNT} images")
        require(
            shape[2] == shape[3], f"map {index} of square images has shape {shape}: give channels first, [B, C, H, W]"
        )
        require(each.requires_grad, f"no gradient goes through map {index}: do not detach it")
    if model.has_rest:
        _check_rest(model, outputs)
    sides = [each.shape[-1] for each in maps]
    require(sides == sorted(sides, reverse=True), f"its maps have sides {sides}: give them shallow to deep")
    return None


def _check_rest(model: Backbone, outputs: Outputs) -> None:
    for index, value in enumerate(outputs.features[:-1]):
        given, rest = value.detach().clone(), value.detach()
        again = model.rest(index, rest)
        require(torch.equal(given, rest), f"rest changes map {index}, which it is given: copy it first")
        ours, whole = [again.embedding, *again.features], [outputs.embedding, *outputs.features[index + 1 :]]
        near = [each.shape for each in ours] == [each.shape for each in whole] and all(
            torch.allclose(mine, other, rtol=1e-3, atol=1e-4) for mine, other in zip(ours, whole, strict=True)
        )
        require(near, f"rest gives other maps or another embedding from map {index} on than the network itself")


def check_token(case: ModelCase) -> None:
    """Distillation token, where there is one: two embeddings, whose mean is the network's, and maps."""
    trunk = case.trunk()
    if trunk.with_token is None:
        return
    model = Backbone(trunk, classes=None).eval()
    images = case.images(model)
    with torch.no_grad():
        embedding, token, maps = trunk.with_token((images - model.mean) / model.std)
        plain = model(images).embedding
    _require_shape(embedding, COUNT, model)
    _require_shape(token, COUNT, model)
    near = torch.allclose((embedding + token) / 2, plain, rtol=1e-3, atol=1e-4)
    require(near, "the network's embedding is not the mean of its two tokens'")
    require(all(each.ndim == 4 for each in maps), "with_token gives maps that are not [B, C, H, W]")


def check_copies(case: ModelCase) -> None:
    """The trunk's functions run the layers of a deep copy, which is what a network is measured on."""
    for token in (False, True):
        original = _headed(case, token)
        try:
            copied = copy.deepcopy(original)
        except Exception as error:
            raise AssertionError(f"copy.deepcopy cannot copy it ({one_line(error)[:200]})") from error
        ours = _without_weights(copied, case)
        theirs = _without_weights(_headed(case, token), case)  # built last: what it shares with the first has zeros now
        for name, values in theirs.items():
            same = all(
                torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)
                for one, other in zip(ours[name], values, strict=True)
            )
            way = "with_token" if token and name == "with_features" and original.has_token else name
            advice = "write it as a method of the module, or of an object that holds it"
            require(same, f"{way} of a deep copy runs the layers of the original: {advice}")


def _headed(case: ModelCase, token: bool) -> Backbone:
    """The network with a classifier, and on request with one of its distillation token, which it then runs by."""
    model = Backbone(case.trunk(), classes=3)
    if token:
        model.add_token_head()
    return model.eval()


@torch.no_grad()
def _without_weights(model: Backbone, case: ModelCase) -> dict[str, list[Tensor]]:
    """The values that the trunk's functions give where all of its parameters are 0."""
    for parameter in model.trunk.parameters():
        parameter.zero_()
    images = case.images(model)
    outputs = model(images, features=True)
    maps = outputs.features if model.has_rest else []
    rests = [value for index, each in enumerate(maps[:-1]) for value in model.rest(index, each.clone()).tensors()]
    return {"with_features": outputs.tensors(), "rest": rests}


def check_state(case: ModelCase) -> None:
    """A trained network comes back from its state dict alone, strictly."""
    trained, fresh = case.backbone(seed=1), case.backbone(seed=2)
    images = case.images(trained)
    with torch.no_grad():
        trained.train()(images)  # moves running statistics
        expected = trained.eval()(images).embedding
    state = {name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
    try:
        fresh.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    except Exception as error:
        raise AssertionError(f"its weights cannot be saved and loaded ({one_line(error)[:300]})") from error
    with torch.no_grad():
        same = torch.equal(fresh.eval()(images).embedding, expected)
    require(same, "restored from its state dict it gives other embeddings: keep weights in parameters and buffers")


def check_meta(case: ModelCase) -> None:
    """The network runs on the meta device, where `plan` counts its multiply-adds."""
    try:
        try:
            with torch.device("meta"):
                model = case.backbone()
        except NotImplementedError:  # as `plan` does: a network that computes with tensors to find its own shape
            model = case.backbone().to("meta")
        size = model.input_size or SIZE
        with torch.device("meta"), torch.no_grad():
            embedding = model.eval()(torch.zeros(1, 3, size, size)).embedding
    except Exception as error:
        advice = "make its tensors parameters and buffers, and read no values in forward"
        raise AssertionError(f"it does not run on the meta device ({one_line(error)[:200]}): {advice}") from error
    _require_shape(embedding, 1, model, " on the meta device")


def check_weights(case: ModelCase) -> None:
    """Weights that are asked for are loaded or refused: a run must not start from random ones in silence."""
    try:
        case.trunk(weights=Weights(file="no-such-file.safetensors"))
    except BenchBenchError:
        return
    except Exception as error:
        advice = "raise WeightsError, or call weights.load_into(network, CLASSIFIER)"
        raise AssertionError(f"weights that do not exist raise {one_line(error)[:200]}: {advice}") from error
    raise AssertionError("it ignores `weights`: call weights.load_into(network, CLASSIFIER), or raise WeightsError")


CHECKS: Mapping[str, Callable[[ModelCase], str | None]] = {
    "trunk": check_trunk,
    "embedding": check_embedding,
    "single": check_single,
    "determinism": check_determinism,
    "sizes": check_sizes,
    "gradients": check_gradients,
    "features": check_features,
    "token": check_token,
    "copies": check_copies,
    "state": check_state,
    "meta": check_meta,
    "weights": check_weights,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a model source, ready to run.

    Raises:
        BenchBenchError: it has several networks, and none or an unknown one is named.
    """
    case = ModelCase(component, options.model, options.params_of(component).model_dump(mode="json"))
    try:
        case.trunk()
    except UnknownNameError as error:
        hint = "" if options.model else "; name one of its networks with --model NAME"
        raise BenchBenchError(f"{kind}/{component.name}: {one_line(error)}{hint}") from None
    except (Exception, SystemExit):  # the checks say so
        pass
    return {name: partial(check, case) for name, check in CHECKS.items()}


def _require_shape(embedding: Tensor, count: int, model: Backbone, where: str = "") -> None:
    expected = [count, model.dim]
    shape = list(embedding.shape)
    advice = "pool the last map, and say its width in dim"
    require(shape == expected, f"its embedding has shape {shape}{where}, not {expected}: {advice}")
