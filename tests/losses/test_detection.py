"""Every loss that works on detections trains a small one; weight 0 is plain training; teachers with other points."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch

from benchbench.components import Component, Offer, Registry
from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses import benchbench_losses
from benchbench.losses.multi_teacher import LossSetup, MultiTeacherLoss, build_losses
from benchbench.models.build import build_backbone
from benchbench.models.detection import DetectionNetwork
from benchbench.models.outputs import Outputs
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ComponentSpec, LossSpec, ModelSpec
from benchbench.testing.boxes import boxes_like
from tests.specs import loss_spec

CPU = torch.device("cpu")
REGISTRY = load_plugins().registry
COMPONENTS = {each.name: each for each in benchbench_losses()}
OF_BOXES = [name for name, each in COMPONENTS.items() if each.boxes]
# What a first stage would train alone trains along with the rest; memories are small.
SMALLER = {
    **{name: {"preparation": 0} for name in ("fsp", "ab")},
    "seed": {"queue": 9},
    "align_uniform": {"dim": 4},
    "review": {"warmup_epochs": 0},
}
SIDE, CLASSES, BATCH = 32, 3, 3
ROUNDING = 1e-8  # gradients as small as this


def network(seed: int, name: str, finest: int = 2) -> DetectionNetwork:
    seed_everything(seed, CPU)
    params = {"width": 32, "convolutions": 0, "finest": finest, "extra_levels": False}
    spec = ModelSpec(source="cifar", name=name, head=ComponentSpec(name="fcos", params=params))
    model = build_backbone(spec, "student", REGISTRY, CLASSES)
    assert isinstance(model, DetectionNetwork)
    return model


@pytest.fixture(scope="module")
def student() -> DetectionNetwork:
    return network(0, "resnet8")


@pytest.fixture(scope="module")
def teacher() -> DetectionNetwork:
    """Wider and deeper."""
    return network(1, "resnet8x4").freeze()


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """The first image of each has no object."""
    random = torch.Generator().manual_seed(0)
    rows, zeros = torch.arange(2 * BATCH).split(BATCH), torch.zeros(BATCH, dtype=torch.long)
    return [
        Batch(
            torch.rand(BATCH, 3, SIDE, SIDE, generator=random),
            zeros,
            each,
            3.0,
            boxes=boxes_like(BATCH, CLASSES, SIDE, random),
        )
        for each in rows
    ]


@pytest.fixture(scope="module")
def taught(teacher, batches) -> list[Outputs]:
    with torch.no_grad():
        return [teacher(batch.images, features=True) for batch in batches]


def losses_of(
    specs: list[LossSpec], student: DetectionNetwork, *teachers: DetectionNetwork, registry: Registry = REGISTRY
) -> MultiTeacherLoss:
    seed_everything(2, CPU)
    setup = LossSetup(torch.zeros(2 * BATCH, dtype=torch.long), SIDE, 10, CPU, tuple(range(1, 1 + len(teachers))))
    return build_losses(specs, registry, student, teachers, setup)


class Trained(NamedTuple):
    """A student after its steps, with the terms of each, and whether all steps gave its trunk a gradient."""

    model: DetectionNetwork
    terms: list[dict[str, float]]
    moved: bool


def trained(
    model: DetectionNetwork,
    specs: list[LossSpec],
    teacher: DetectionNetwork,
    batches: list[Batch],
    taught: list[Outputs],
) -> Trained:
    """A copy after one step on each batch."""
    model = copy.deepcopy(model).train()
    losses, history, moved = losses_of(specs, model, teacher), [], True
    parameters = [*model.parameters(), *(each for each in losses.parameters() if each.requires_grad)]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    for step, (batch, outputs) in enumerate(zip(batches, taught, strict=True)):
        seed_everything(step, CPU)
        total, terms = losses(model(batch.images, features=losses.needs_features), [outputs], batch)
        optimizer.zero_grad()
        total.backward()
        moved &= any(each.grad is not None and each.grad.abs().max() > ROUNDING for each in model.trunk.parameters())
        optimizer.step()
        history.append({name: term.item() for name, term in terms.items()})
    assert all(tensor.isfinite().all() for tensor in [*model.state_dict().values(), *losses.state_dict().values()])
    return Trained(model, history, moved)


@pytest.fixture(scope="module")
def plain(student, teacher, batches, taught) -> Callable[[], DetectionNetwork]:
    """Trained once, in the test that asks first: with as many threads as the others."""
    return functools.cache(lambda: trained(student, [loss_spec("ce")], teacher, batches, taught).model)


def spec_of(name: str, weight: float = 1.0) -> LossSpec:
    checked = COMPONENTS[name].params(**SMALLER.get(name, {}))
    return LossSpec(name=name, params=checked.model_dump(mode="json"), weight=weight)


@pytest.mark.parametrize("name", OF_BOXES)
def test_a_loss_trains_a_detection(student, teacher, batches, taught, name):
    _, terms, moved = trained(student, [spec_of(name)], teacher, batches[:1], taught[:1])
    assert moved
    assert all(math.isfinite(value) for step in terms for value in step.values())


@pytest.mark.parametrize("name", ["pkd", "align_uniform", "fgd", "head_kd"])
def test_weight_0_is_plain_training_to_the_last_bit(student, teacher, batches, taught, plain, name):
    model, terms, _ = trained(student, [loss_spec("ce"), spec_of(name, 0.0)], teacher, batches, taught)
    assert all(map(torch.equal, model.state_dict().values(), plain().state_dict().values()))
    assert all(len(step) > 3 for step in terms)


def test_losses_of_images_and_of_pixels():
    assert {name for name in COMPONENTS if name not in OF_BOXES} == {
        *("tf_kd", "kd", "logit_mse", "dkd", "rld", "ttm", "dist", "nkd", "wsld", "mlkd", "ctkd"),
        *("wkd_logits", "tf_kd_self", "deit", "crd", "srrl", "simkd", "catkd", "ofa", "sdd", "norm", "ifvd", "vrm"),
        "fcfd",
    }


@pytest.mark.parametrize("name", ["fgd", "head_kd"])
def test_images_without_any_object(student, teacher, batches, taught, name):
    empty = [replace(batch, boxes=batch.boxes[:1].expand(BATCH, -1, -1)) for batch in batches]
    _, terms, moved = trained(student, [spec_of(name)], teacher, empty, taught)
    assert moved
    assert all(math.isfinite(value) for step in terms for value in step.values())
    assert terms[0].get("fgd.foreground", 0) == 0


@pytest.mark.parametrize("name", ["fgd", "head_kd"])
def test_losses_of_boxes_need_boxes(student, teacher, batches, taught, name):
    losses = losses_of([spec_of(name)], student, teacher)
    with pytest.raises(StageError, match=f"loss '{name}' reads the boxes of objects, and these images have none"):
        losses(student(batches[0].images, features=True), taught[:1], replace(batches[0], boxes=None))


def test_other_points_are_refused(student, batches):
    coarse = network(1, "resnet8x4", finest=4)
    message = (
        r"loss 'head_kd' compares both sides point by point, and levels of the student have \[256, 64\] points, "
        r"those of the teacher \[64\]; take networks and heads whose levels have the same strides"
    )
    with pytest.raises(StageError, match=message):
        losses_of([spec_of("head_kd")], student, coarse)(
            student(batches[0].images), [coarse(batches[0].images)], batches[0]
        )


def logit_sum(student: Outputs, teacher: Outputs, batch: Batch) -> Any:
    return student.logits.mean() * teacher.logits.mean()


def test_several_teachers_with_points_of_their_own(student, teacher, batches, taught):
    """No mean of their logits is taken: a loss on these is built for each of them."""
    coarse, batch = network(1, "resnet8x4", finest=4), batches[0]
    registry = load_plugins().registry
    component = Component(
        "logit_sum", "tests.losses.test_detection:logit_sum", needs=frozenset({"teacher.logits"}), boxes=True
    )
    registry.add(Offer("loss", component, "under test"))
    specs = [loss_spec("ce"), loss_spec("logit_sum"), spec_of("fgd")]
    losses = losses_of(specs, student, teacher, coarse, registry=registry)
    outputs, others = student(batch.images, features=True), coarse(batch.images, features=True)
    total, terms = losses(outputs, [taught[0], others], batch)
    means = [(outputs.logits.mean() * each.logits.mean()).item() for each in (taught[0], others)]
    assert [terms[f"logit_sum {number}"].item() for number in (1, 2)] == pytest.approx(means)
    assert {name for name in terms if name.startswith("fgd.relation")} == {"fgd.relation 1", "fgd.relation 2"}
    assert total.isfinite()


def test_several_teachers_with_the_same_points(student, teacher, batches, taught):
    other, batch = network(3, "resnet14").freeze(), batches[0]
    outputs, others = student(batch.images), other(batch.images)
    both = losses_of([spec_of("head_kd")], student, teacher, other)(outputs, [taught[0], others], batch)[0]
    alone = [
        losses_of([spec_of("head_kd")], student, each)(outputs, [own], batch)[0].item()
        for each, own in ((teacher, taught[0]), (other, others))
    ]
    assert both.item() == pytest.approx(alone[0] / 3 + 2 * alone[1] / 3, rel=1e-5)
