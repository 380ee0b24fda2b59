from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.losses.methods.fcfd import FCFD, Bridge
from benchbench.models.backbone import Backbone
from benchbench.models.cifar_source import build
from benchbench.seeds import seed_everything

CLASSES = 5
ALL = {"paths": 99, "warmup_epochs": 0.0}


@pytest.fixture
def networks() -> tuple[Backbone, Backbone]:
    """A student in training and a frozen teacher, in float64."""
    seed_everything(0, torch.device("cpu"))
    student, teacher = (Backbone(build(name, None), CLASSES).double() for name in ("resnet8", "resnet14"))
    return student.train(), teacher.freeze()


def context_of(student: Backbone, teacher: Backbone) -> LossContext:
    return LossContext(
        classes=CLASSES,
        student_dim=student.dim,
        teacher_dim=teacher.dim,
        student_head=student.head,
        teacher_head=teacher.head,
        labels=torch.zeros(6, dtype=torch.int64),
        epochs=10,
        device=torch.device("cpu"),
        student_features=student.map_shapes(16),
        teacher_features=teacher.map_shapes(16),
        student_rest=student.rest,
        teacher_rest=teacher.rest,
    )


def step(student: Backbone, teacher: Backbone, epoch: float = 3.0) -> tuple:
    images = torch.rand(6, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, torch.zeros(6, dtype=torch.int64), torch.arange(6), epoch)
    return student(images, features=True), teacher(images, features=True), batch


def of_images(student: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in student.named_buffers()}


def by_hand(layers: list[nn.Module], head: nn.Linear, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    maps = []
    for layer in layers:
        x = layer(x)
        maps.append(x)
    return x.mean((2, 3)) @ head.weight.T + head.bias, maps


def test_all_paths(networks):
    """Against the networks' own layers, one path after another."""
    student, teacher = networks
    loss = FCFD(context_of(student, teacher), **ALL).double()
    s, t, batch = step(student, teacher)
    terms = loss(s, t, batch)

    hand = copy.deepcopy(student)  # its running statistics may change
    own, taught = ([each.trunk.layer2, each.trunk.layer3] for each in (hand, teacher))
    bridged = [bridge(f) for bridge, f in zip(loss.to_teacher, s.features, strict=True)]
    logits, compared = [], list(enumerate(bridged))
    for depth in (0, 1):
        through, maps = by_hand(taught[depth:], teacher.head, bridged[depth])
        logits.append(through)
        compared += [(depth + 1 + index, each) for index, each in enumerate(maps)]
        logits.append(by_hand(own[depth:], hand.head, loss.to_student[depth](t.features[depth]))[0])
    target = F.softmax(t.logits / 4, 1)
    divergences = [(target * (target.log() - F.log_softmax(each / 4, 1))).sum(1).mean() * 16 for each in logits]
    gaps = [((f - t.features[depth]) ** 2).mean() for depth, f in compared]
    last = [(F.relu(f).mean((2, 3)) - t.embedding).square().mean() for depth, f in compared if depth == 2]
    assert len(compared) == 6
    assert len(last) == 3
    torch.testing.assert_close(terms["features"], 5 * (sum(gaps) + sum(last)))
    torch.testing.assert_close(terms["logits"], sum(divergences))


def test_the_student_s_running_statistics_are_those_of_images(networks):
    student, teacher = networks
    loss = FCFD(context_of(student, teacher), **ALL).double()
    s, t, batch = step(student, teacher)
    before = of_images(student)
    loss(s, t, batch)
    assert all(torch.equal(before[name], tensor) for name, tensor in student.named_buffers())
    assert all(norm.track_running_stats for norm in student.modules() if isinstance(norm, nn.BatchNorm2d))


def test_only_the_student_and_the_bridges_train(networks):
    student, teacher = networks
    loss = FCFD(context_of(student, teacher), **ALL).double()
    s, t, batch = step(student, teacher)
    sum(loss(s, t, batch).values()).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert student.trunk.layer3[0].conv1.weight.grad.abs().sum() > 0
    names = {name.partition(".")[0] for name, _ in loss.named_parameters()}
    assert names == {"to_teacher", "to_student"}


def test_paths_are_drawn_anew_in_every_step(networks):
    student, teacher = networks
    loss = FCFD(context_of(student, teacher), paths=1).double()
    values = set()
    for seed in range(12):
        torch.manual_seed(seed)
        values.add(round(loss(*step(student, teacher))["logits"].item(), 9))
    assert len(values) == 4


@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.0), (5.0, 0.5), (10.0, 1.0), (12.0, 1.0)])
def test_features_rise_over_the_warm_up(networks, epoch, share):
    student, teacher = networks
    loss = FCFD(context_of(student, teacher), paths=99, warmup_epochs=10.0).double()
    full = FCFD(context_of(student, teacher), **ALL).double()
    full.load_state_dict(loss.state_dict())
    terms, whole = (each(*step(student, teacher, epoch)) for each in (loss, full))
    torch.testing.assert_close(terms["features"], share * whole["features"])
    torch.testing.assert_close(terms["logits"], whole["logits"])


@pytest.mark.parametrize(("side", "other"), [(8, 8), (8, 4), (4, 8), (7, 4), (3, 8)])
def test_a_bridge_leads_to_the_other_network_s_form(side, other):
    x, shapes = torch.randn(2, 3, side, side), ((3, side, side), (5, other, other))
    plain, leaky = Bridge(*shapes, relu=False), Bridge(*shapes, relu=True)
    leaky.load_state_dict(plain.state_dict())
    y = plain(x)
    assert y.shape == (2, 5, other, other)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)  # normalised
    torch.testing.assert_close(leaky(x), torch.where(y > 0, y, 0.1 * y))


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_network_that_runs_as_a_whole_only_is_refused(networks, side):
    context = replace(context_of(*networks), **{f"{side}_rest": None})
    with pytest.raises(StageError, match=f"this {side} cannot; take a {side} of cifar/, or a ResNet of timm"):
        FCFD(context)


def test_one_map_is_too_few(networks):
    context = replace(context_of(*networks), student_features=[(64, 4, 4)])
    with pytest.raises(StageError, match="two maps or more"):
        FCFD(context)
