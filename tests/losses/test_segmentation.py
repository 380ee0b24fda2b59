"""Every loss that works on segmentations trains a small one, and changes nothing with weight 0; others are refused."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses import benchbench_losses
from benchbench.losses.multi_teacher import LossSetup, MultiTeacherLoss, build_losses
from benchbench.models.backbone import Trunk
from benchbench.models.fpn import FPN
from benchbench.models.outputs import Outputs
from benchbench.models.segmentation import SegmentationNetwork
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import LossSpec
from tests.segments import CLASSES, SIDE, arrays
from tests.specs import loss_spec

CPU = torch.device("cpu")
REGISTRY = load_plugins().registry
COMPONENTS = {each.name: each for each in benchbench_losses()}
DENSE = [name for name, each in COMPONENTS.items() if each.dense]
# What a first stage would train alone trains along with the rest; memories are small.
SMALLER = {
    **{name: {"preparation": 0} for name in ("fsp", "ab")},
    "seed": {"queue": 9},
    "align_uniform": {"dim": 4},
}
OTHER_FORMS = [("cwd", {"logits": True}), *[(name, {"maps": True}) for name in ("sp", "vid")]]
READ_POSITIONS = [(name, {"dense": True, "positions": 4}) for name in DENSE if "dense" in COMPONENTS[name].optional]
CASES = [(name, {}) for name in DENSE] + OTHER_FORMS + READ_POSITIONS
BATCH = 4
ROUNDING = 1e-8  # gradients as small as this


class Stages(nn.Module):
    """Convolutions with batch normalisation, a map after each."""

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...]):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b, stride in zip((3, *widths), widths, strides, strict=False)
        )

    def with_features(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return images.mean((2, 3)), maps


def network(seed: int, widths: tuple[int, ...], strides: tuple[int, ...]) -> SegmentationNetwork:
    seed_everything(seed, CPU)
    module = Stages(widths, strides)
    trunk = Trunk(module, widths[-1], (0.5,) * 3, (0.25,) * 3, with_features=module.with_features)
    return SegmentationNetwork(trunk, len(CLASSES), lambda maps, classes: FPN(maps, classes, 8))


@pytest.fixture(scope="module")
def student() -> SegmentationNetwork:
    return network(0, (4, 6, 8), (2, 2, 1))


@pytest.fixture(scope="module")
def teacher() -> SegmentationNetwork:
    """Wider, deeper, and with larger maps."""
    return network(1, (6, 8, 10, 12), (2, 1, 2, 1)).freeze()


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    images, masks = arrays(2 * BATCH)
    pixels, classes = torch.tensor(images).permute(0, 3, 1, 2) / 255, torch.tensor(masks).long()
    rows = [torch.arange(BATCH), torch.arange(BATCH, 2 * BATCH)]
    zeros = torch.zeros(BATCH, dtype=torch.long)
    return [Batch(pixels[each], zeros, each, 3.0, masks=classes[each]) for each in rows]


@pytest.fixture(scope="module")
def taught(teacher, batches) -> list[Outputs]:
    with torch.no_grad():
        return [teacher(batch.images, features=True) for batch in batches]


def losses_of(specs: list[LossSpec], student: SegmentationNetwork, teacher: SegmentationNetwork) -> MultiTeacherLoss:
    seed_everything(2, CPU)
    setup = LossSetup(torch.zeros(2 * BATCH, dtype=torch.long), SIDE, 10, CPU, (1.0,))
    return build_losses(specs, REGISTRY, student, [teacher], setup)


class Trained(NamedTuple):
    """A student after its steps, with the terms of each, and whether all steps gave its trunk a gradient."""

    model: SegmentationNetwork
    terms: list[dict[str, float]]
    moved: bool


def trained(
    model: SegmentationNetwork, losses: MultiTeacherLoss, batches: list[Batch], taught: list[Outputs]
) -> Trained:
    """A copy after one step on each batch."""
    model = copy.deepcopy(model).train()
    parameters = [*model.parameters(), *(each for each in losses.parameters() if each.requires_grad)]
    optimizer, history, moved = torch.optim.SGD(parameters, lr=0.01, momentum=0.9), [], True
    for step, (batch, outputs) in enumerate(zip(batches, taught, strict=True)):
        seed_everything(step, CPU)
        total, terms = losses(model(batch.images, features=losses.needs_features), [outputs], batch)
        optimizer.zero_grad()
        total.backward()
        moved &= any(each.grad is not None and each.grad.abs().max() > ROUNDING for each in model.trunk.parameters())
        optimizer.step()
        history.append({name: term.item() for name, term in terms.items()})
    return Trained(model, history, moved)


def same(model: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


@pytest.fixture(scope="module")
def plain(student, teacher, batches, taught) -> Callable[[], SegmentationNetwork]:
    """Trained once, in the test that asks first: with as many threads as the others."""
    return functools.cache(
        lambda: trained(student, losses_of([loss_spec("ce")], student, teacher), batches, taught).model
    )


def specs_of(name: str, params: dict[str, object], weight: float) -> LossSpec:
    checked = COMPONENTS[name].params(**{**SMALLER.get(name, {}), **params})
    return LossSpec(name=name, params=checked.model_dump(mode="json"), weight=weight)


@pytest.mark.parametrize(("name", "params"), CASES)
def test_a_loss_trains_a_segmentation(student, teacher, batches, taught, name, params):
    losses = losses_of([specs_of(name, params, 1.0)], student, teacher)
    model, terms, moved = trained(student, losses, batches, taught)
    assert moved
    assert all(math.isfinite(value) for step in terms for value in step.values())
    assert all(tensor.isfinite().all() for tensor in [*model.state_dict().values(), *losses.state_dict().values()])


@pytest.mark.parametrize(("name", "params"), [case for case in CASES[1:] if case not in READ_POSITIONS[1:]])
def test_weight_0_is_plain_training_to_the_last_bit(student, teacher, batches, taught, plain, name, params):
    losses = losses_of([loss_spec("ce"), specs_of(name, params, 0.0)], student, teacher)
    model, terms, _ = trained(student, losses, batches, taught)
    assert same(model, plain())
    assert all(len(step) > 1 for step in terms)


def test_losses_of_images_with_one_class():
    assert {name for name in COMPONENTS if name not in DENSE} == {
        *("tf_kd", "dkd", "rld", "nkd", "wsld", "mlkd", "wkd_logits", "deit"),
        *("crd", "srrl", "simkd", "catkd", "ofa", "sdd", "norm", "vrm", "fcfd"),
        *("fgd", "head_kd"),
    }


@pytest.mark.parametrize(("name", "params"), [("ifvd", {}), ("cwd", {"logits": True})])
def test_losses_of_pixels_need_masks(student, teacher, batches, taught, name, params):
    losses = losses_of([specs_of(name, params, 1.0)], student, teacher)
    with pytest.raises(StageError, match=f"loss '{name}' reads the classes of pixels, and these images have none"):
        losses(student(batches[0].images, features=True), taught[:1], replace(batches[0], masks=None))


def test_the_mean_of_teachers_is_at_the_size_of_the_first_one(student, teacher, batches, taught):
    coarse = replace(taught[0], logits=torch.nn.functional.avg_pool2d(taught[0].logits, 2))
    setup = LossSetup(torch.zeros(2 * BATCH, dtype=torch.long), SIDE, 10, CPU, (1.0, 3.0))
    losses = build_losses([specs_of("logit_mse", {}, 1.0)], REGISTRY, student, [teacher, teacher], setup)
    outputs = student(batches[0].images)
    enlarged = nn.Upsample(scale_factor=2, mode="bilinear")(coarse.logits)
    expected = (outputs.logits - taught[0].logits / 4 - 3 * enlarged / 4).square().mean()
    assert losses(outputs, [taught[0], coarse], batches[0])[0].item() == pytest.approx(expected.item(), rel=1e-5)
