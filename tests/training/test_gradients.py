"""Gradients summed over parts of a batch are those of the batch, and limits are those of their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch, Mix
from benchbench.losses.catalog.comparing import COMPARING
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, ModelSpec
from benchbench.statistics.masks import IGNORED
from benchbench.testing.losses import LossCase, run
from benchbench.training.gradients import clip_gradients
from benchbench.training.step_graph import WatchedBatch
from tests.specs import recipe_spec
from tests.training.pair import SMALLER, cohort_of, difference, group_norm, loaders, trained

REGISTRY = load_plugins().registry
# They draw numbers, or have a bank that a part has changed when the next one comes.
DRAWING = {"crd", "diffkd", "mgd", "ofd", "seed", "simkd", "vitkd"}


@pytest.fixture
def double(monkeypatch):
    """All in float64, losses too."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("mix", [(), ("mixup",)])
def test_parts_of_a_batch_add_up_to_it(double, tmp_path, mix):
    """Three parts of seven images, of three and two images each."""
    names = ["ce"] if mix else ["ce", "kd", "embedding_mse"]
    whole, parts = (
        trained(cohort_of(names, None, tmp_path, norm=group_norm, inputs=loaders(mix), accumulate=count))
        for count in (1, 3)
    )
    assert difference(whole, parts) < 1e-12
    for one, other in zip(whole.curve, parts.curve, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("name", sorted(REGISTRY.offers["loss"]))
def test_a_loss_compares_the_images_of_a_batch_where_the_list_says_so(double, name):
    """A new loss that compares them belongs into `COMPARING`; one that draws, or has a bank, into `DRAWING` here."""
    case = LossCase(REGISTRY.get("loss", name), SMALLER.get(name, {}), "vit > cnn" if name == "ofa" else "cnn > cnn")
    student, teacher, batch = case.step(8, dtype=torch.float64)
    if batch.masks is not None:
        batch.masks[0, :6] = IGNORED  # not as many pixels count in all images
    values: list[float] = []
    for count in (1, 2):
        loss, total = case.build(), 0.0
        for part in loss.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        for first, part in enumerate(batch.parts(count)):
            rows = slice(first, None, count)
            value, _ = run(loss, (student.part(rows), teacher and teacher.part(rows), part))
            total += float(value.detach()) / count
        values.append(total)
    if name not in DRAWING:
        assert (values[1] == pytest.approx(values[0], rel=1e-9, abs=1e-12)) == (name not in COMPARING)


def test_parts_have_every_sample_once_and_share_what_is_read():
    index = torch.arange(7)
    mix = Mix(index + 10, index / 7)
    batch = WatchedBatch(**vars(Batch(torch.rand(7, 3, 2, 2), index, index, mix=mix, host_index=index)))
    parts = batch.parts(3)
    assert [part.index.tolist() for part in parts] == [[0, 3, 6], [1, 4], [2, 5]]
    assert all(torch.equal(part.images, batch.images[part.index]) for part in parts)
    assert all(torch.equal(part.mix.labels, part.index + 10) for part in parts)
    assert batch.read is None
    assert parts[2].host_index.tolist() == [2, 5]
    assert batch.read == "host_index"


def small(seed: int) -> tuple[Backbone, nn.Module, list[Tensor]]:
    """A network, a projector and their gradients, of which the projector's second is missing."""
    torch.manual_seed(seed)
    model = Backbone(Trunk(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), 5, (0.0,) * 3, (1.0,) * 3), 3)
    projector = nn.Linear(5, 2)
    for parameter in (*model.parameters(), projector.weight):
        parameter.grad = torch.randn_like(parameter)
    return model, projector, [each.grad.clone() for each in (*model.parameters(), projector.weight)]


@pytest.mark.parametrize("mode", ["norm", "value", "agc"])
def test_gradients_are_limited(mode):
    model, projector, before = small(0)
    clip_gradients(recipe_spec(clip_grad=0.5, clip_mode=mode), model, projector)
    parameters = [*model.parameters(), projector.weight]
    if mode == "norm":
        factor = 0.5 / torch.cat([each.flatten() for each in before]).norm()
        expected = [each * factor for each in before]
    elif mode == "value":
        expected = [each.clamp(-0.5, 0.5) for each in before]
    else:
        heads = {id(each) for each in model.head.parameters()}
        expected = [
            gradient if id(parameter) in heads else gradient * _factor(parameter.detach(), gradient)
            for parameter, gradient in zip(parameters, before, strict=True)
        ]
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4)
    assert projector.bias.grad is None


def _factor(weights: Tensor, gradient: Tensor) -> Tensor:
    """min(1, 0.5 |w| / |g|) of each unit: a row of a matrix, a vector as a whole."""
    rows, rows_of_gradient = (each if each.dim() > 1 else each[None] for each in (weights, gradient))
    most = 0.5 * rows.norm(dim=1, keepdim=True).clamp(min=1e-3)
    factor = (most / rows_of_gradient.norm(dim=1, keepdim=True)).clamp(max=1)
    return factor if weights.dim() > 1 else factor[0]


@pytest.mark.parametrize(
    ("name", "params", "last"),
    [
        ("fpn", {"width": 8}, "head.classifier."),
        (
            "fcos",
            {"width": 32, "finest": 2, "convolutions": 1, "extra_levels": False},
            "head.detector.head.classification_head.cls_logits.",
        ),
    ],
)
def test_of_a_head_on_maps_the_layer_that_classifies_is_left_alone(name, params, last):
    """The pyramid, the other convolutions and the layer of the boxes have a limit."""
    head = ComponentSpec(name=name, params=params)
    model = build_backbone(ModelSpec(source="cifar", name="resnet8", head=head), "student", REGISTRY, 3)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
    clip_gradients(recipe_spec(clip_grad=0.01, clip_mode="agc"), model, nn.Identity())
    free = {label for label, each in model.named_parameters() if bool((each.grad == 1e3).all())}
    assert free == {last + "weight", last + "bias"}


def test_small_gradients_stay_as_they_are():
    model, projector, before = small(1)
    clip_gradients(recipe_spec(clip_grad=1e3), model, projector)
    assert all(torch.equal(each.grad, old) for each, old in zip(model.parameters(), before, strict=False))
