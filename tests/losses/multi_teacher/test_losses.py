"""Losses of several teachers: what each sees, weights, stages and state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.losses.base import LossContext
from benchbench.losses.methods.kd import distillation_kl
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.losses.weighted_sum import LossSum
from benchbench.models.outputs import Outputs
from benchbench.testing.losses import leaves
from tests.losses.multi_teacher.conftest import Probe
from tests.specs import loss_spec

WEIGHTS = [1.0, 3.0]  # a quarter and three quarters


SECOND_DIM = 4


@pytest.fixture
def contexts(context) -> list[LossContext]:
    """Two teachers of different widths, for one student."""
    head = nn.Linear(SECOND_DIM, context.classes).requires_grad_(False)
    return [context, replace(context, teacher_dim=SECOND_DIM, teacher_head=head, teacher_features=[(5, 4, 4)])]


@pytest.fixture
def step(make_step):
    """The student, both teachers' outputs, and the batch."""
    student, first, batch = make_step()
    random = torch.Generator().manual_seed(8)
    size, classes = first.logits.shape
    maps = [torch.randn(size, 5, 4, 4, generator=random)]
    second = Outputs(
        3 * torch.randn(size, classes, generator=random), torch.randn(size, SECOND_DIM, generator=random), maps
    )
    return student, [first, second], batch


def part(losses: MultiTeacherLoss, name: str, index: int | None = None) -> Probe:
    """A loss of the losses: the one for all teachers, or a teacher's own."""
    return (losses.ensemble if index is None else losses.per_teacher[index]).parts[name]


def same(outputs: Outputs | None, others: Outputs | None) -> bool:
    """True if these are the same tensors, or constants that share their memory."""
    return [each.data_ptr() for each in leaves(outputs)] == [each.data_ptr() for each in leaves(others)]


def same_calls(loss: Probe, expected: list[tuple[Outputs | None, Outputs | None]]) -> bool:
    """True if the loss was called with these outputs of student and teacher, in this order."""
    calls = zip(loss.calls, expected, strict=True)
    return all(same(*sides) for call in calls for sides in zip(*call, strict=True))


EVERY_KIND = [
    loss_spec("ce", 0.5),
    loss_spec("kd", 2.0, temperature=3.0),
    loss_spec("align_uniform", 3.0, dim=4),
    loss_spec("srrl", 0.25),
    loss_spec("crd", 0.125, dim=4, negatives=5),
    loss_spec("on_maps_and_logits", 7.0),
]


def test_the_sides_are_the_losses_without_and_with_a_teacher(registry, contexts, step):
    student, teachers, batch = step
    losses = MultiTeacherLoss(EVERY_KIND, registry, contexts, WEIGHTS)
    total, terms = losses(student, teachers, batch)
    task, distillation = losses.sides(terms)
    assert task.item() == pytest.approx(0.5 * terms["ce"].item())
    assert (task + distillation).item() == pytest.approx(total.item(), rel=1e-5)


def test_a_side_without_a_loss_is_a_zero_on_the_device_of_the_others(registry, contexts):
    losses = MultiTeacherLoss([loss_spec("kd")], registry, contexts, WEIGHTS)
    task, distillation = losses.sides({"kd": torch.ones((), device="meta", requires_grad=True)})
    assert (task.device.type, task.requires_grad, distillation.requires_grad) == ("meta", False, True)


def test_one_teacher_is_the_plain_sum(registry, context, make_step):
    student, teacher, batch = make_step()
    results = []
    for build in (
        lambda: MultiTeacherLoss(EVERY_KIND, registry, [context], [5.0]),
        lambda: LossSum(EVERY_KIND, registry, context),
    ):
        torch.manual_seed(3)
        losses = build()
        torch.manual_seed(4)
        teachers = [teacher] if isinstance(losses, MultiTeacherLoss) else teacher
        total, terms = losses(student, teachers, batch)
        results.append((total, terms, [parameter.detach() for parameter in losses.parameters()], losses.needs_features))
    (total, terms, parameters, needs), (plain, plain_terms, plain_parameters, plain_needs) = results
    assert torch.equal(total, plain)
    assert list(terms) == list(plain_terms)
    assert all(torch.equal(terms[name], plain_terms[name]) for name in terms)
    assert len(parameters) == len(plain_parameters) > 8
    assert all(torch.equal(*pair) for pair in zip(parameters, plain_parameters, strict=True))
    assert needs is plain_needs is True


def test_without_a_teacher(registry, context, make_step):
    student, _, batch = make_step()
    context = replace(context, teacher_dim=None, teacher_head=None, teacher_features=[])
    losses = MultiTeacherLoss([loss_spec("ce", 2.0), loss_spec("on_nothing", 3.0)], registry, [context], [])
    total, terms = losses(student, [], batch)
    assert list(terms) == ["ce", "on_nothing.mean"]
    ce = nn.functional.cross_entropy(student.logits, batch.labels).item()
    assert total.item() == pytest.approx(2 * ce + 3)
    assert same_calls(part(losses, "on_nothing"), [(student, None)])
    assert not len(losses.per_teacher)


@pytest.mark.parametrize("weights", [[1.0, 3.0], [0.25, 0.75], [5.0, 5.0]])
def test_losses_on_logits_see_the_weighted_mean(registry, contexts, step, weights):
    student, (first, second), batch = step
    losses = MultiTeacherLoss(
        [loss_spec("ce", 0.5), loss_spec("kd", 2.0, temperature=3.0)], registry, contexts, weights
    )
    total, terms = losses(student, [first, second], batch)
    mean = (weights[0] * first.logits + weights[1] * second.logits) / (weights[0] + weights[1])
    kd = distillation_kl(student.logits, mean, 3.0).item()
    ce = nn.functional.cross_entropy(student.logits, batch.labels).item()
    assert {name: value.item() for name, value in terms.items()} == pytest.approx({"ce": ce, "kd": kd}, rel=1e-5)
    assert total.item() == pytest.approx(0.5 * ce + 2 * kd, rel=1e-5)


def test_the_mean_of_logits_keeps_its_digits_in_half_precision(registry, contexts, step):
    student, teachers, batch = step
    losses = MultiTeacherLoss([loss_spec("on_logits")], registry, contexts, WEIGHTS)
    with torch.autocast("cpu", torch.bfloat16):
        losses(student, teachers, batch)
    ((_, ensemble),) = part(losses, "on_logits").calls
    mean = 0.25 * teachers[0].logits + 0.75 * teachers[1].logits
    assert ensemble.logits.dtype == torch.float32
    assert torch.allclose(ensemble.logits, mean, atol=1e-5)


def test_losses_on_embeddings_are_built_once_per_teacher(registry, contexts, step):
    student, teachers, batch = step
    losses = MultiTeacherLoss(
        [loss_spec("ce", 0.5), loss_spec("align_uniform", 2.0, dim=5)], registry, contexts, WEIGHTS
    )
    total, terms = losses(student, teachers, batch)
    names = [f"align_uniform.{term} {number}" for number in (1, 2) for term in ("align", "uniform")]
    assert list(terms) == ["ce", *names]
    by_hand = 0.5 * terms["ce"].item()
    for index, (context, teacher, share) in enumerate(zip(contexts, teachers, (0.25, 0.75), strict=True)):
        own = part(losses, "align_uniform", index)
        assert own.teacher_projector[0].in_features == context.teacher_dim
        expected = own(student, teacher, batch)
        for term, value in expected.items():
            assert terms[f"align_uniform.{term} {index + 1}"].item() == pytest.approx(value.item(), rel=1e-6)
            by_hand += 2 * share * value.item()
    assert total.item() == pytest.approx(by_hand, rel=1e-5)
    # Neither projector is the other's, nor a copy of it.
    projectors = [part(losses, "align_uniform", index).student_projector[0].weight for index in (0, 1)]
    assert not torch.equal(*projectors)
    total.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in projectors)


def test_a_teacher_s_weight_scales_its_gradient(registry, contexts, step):
    student, teachers, batch = step
    losses = MultiTeacherLoss([loss_spec("on_embedding", 2.0)], registry, contexts, WEIGHTS)
    losses(student, teachers, batch)[0].backward()
    for index, share in enumerate((0.25, 0.75)):
        expected = 2 * share * teachers[index].logits.mean().item()
        assert part(losses, "on_embedding", index).scale.grad.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "separate"),
    [
        ("on_nothing", False),
        ("on_logits", False),
        ("on_features", False),
        ("on_token", False),
        ("on_embedding", True),
        ("on_both", True),
        ("on_maps_and_logits", True),
    ],
)
def test_a_loss_that_reads_more_than_logits_is_built_once_per_teacher(registry, contexts, step, name, separate):
    student, teachers, batch = step
    losses = MultiTeacherLoss([loss_spec(name)], registry, contexts, WEIGHTS)
    _, terms = losses(student, teachers, batch)
    if not separate:
        assert list(terms) == [f"{name}.mean"]
        ((seen, ensemble),) = part(losses, name).calls
        assert same(seen, student)
        assert torch.allclose(ensemble.logits, 0.25 * teachers[0].logits + 0.75 * teachers[1].logits, atol=1e-5)
        return
    assert list(terms) == [f"{name}.mean 1", f"{name}.mean 2"]
    assert name not in losses.ensemble.parts
    for index in (0, 1):
        own = part(losses, name, index)
        assert own.context is contexts[index]
        assert same_calls(own, [(student, teachers[index])])
    assert losses.needs_features is (name == "on_maps_and_logits")


def test_teachers_without_logits_are_read_by_their_embeddings(registry, contexts, step):
    student, teachers, batch = step
    bare = [Outputs(None, teacher.embedding) for teacher in teachers]
    losses = MultiTeacherLoss([loss_spec("ce"), loss_spec("align_uniform")], registry, contexts, WEIGHTS)
    total, terms = losses(student, bare, batch)
    assert len(terms) == 5
    assert total.isfinite()


def test_three_teachers(registry, context, contexts, step):
    student, teachers, batch = step
    losses = MultiTeacherLoss(
        [loss_spec("on_logits"), loss_spec("on_embedding")], registry, [*contexts, context], [1.0, 2.0, 5.0]
    )
    total, terms = losses(student, [*teachers, teachers[0]], batch)
    means = [teacher.logits.mean().item() for teacher in (*teachers, teachers[0])]
    weighted = (means[0] + 2 * means[1] + 5 * means[2]) / 8
    assert list(terms) == ["on_logits.mean", *(f"on_embedding.mean {number}" for number in (1, 2, 3))]
    assert terms["on_logits.mean"].item() == pytest.approx(weighted, abs=1e-6)
    assert total.item() == pytest.approx(2 * weighted, abs=1e-6)


@pytest.mark.parametrize(
    ("entries", "length", "student"),
    [
        ([loss_spec("ce"), loss_spec("on_embedding")], 0.0, False),
        ([loss_spec("parts", share=0.5)], 0.5, False),
        ([loss_spec("ce"), loss_spec("parts", share=0.25), loss_spec("student_apart", share=0.125)], 0.25, True),
        ([loss_spec("parts_apart", share=0.125), loss_spec("student", share=0.75)], 0.75, True),
        ([loss_spec("parts_apart", share=0.125), loss_spec("parts", share=0.0625)], 0.125, False),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_the_longest_first_stage_counts(registry, contexts, entries, length, student, count):
    losses = MultiTeacherLoss(entries, registry, contexts[:count], WEIGHTS[:count])
    assert losses.preparation == length
    assert losses.prepares_student is student


def test_the_first_stage_of_one_teacher(registry, context, make_step):
    student, teacher, batch = make_step()
    losses = MultiTeacherLoss(
        [loss_spec("ce"), loss_spec("parts", 2.0), loss_spec("student_apart", 3.0)], registry, [context], [4.0]
    )
    total, terms = losses.prepare(student, [teacher], batch)
    assert list(terms) == ["parts.prepared", "student_apart.prepared"]
    assert same_calls(part(losses, "parts"), [(None, teacher)])
    assert same_calls(part(losses, "student_apart"), [(student, teacher)])
    # The losses' weights, 2 and 3, are of the training.
    assert total.item() == pytest.approx(2 * 10 * teacher.logits.mean().item(), rel=1e-5)


def test_the_first_stage_of_two_teachers(registry, contexts, step):
    student, teachers, batch = step
    entries = [loss_spec("ce"), loss_spec("align_uniform"), loss_spec("student", 2.0), loss_spec("parts_apart", 3.0)]
    losses = MultiTeacherLoss(entries, registry, contexts, WEIGHTS)
    total, terms = losses.prepare(student, teachers, batch)
    means = [10 * teacher.logits.mean().item() for teacher in teachers]
    weighted = 0.25 * means[0] + 0.75 * means[1]
    expected = {
        "student.prepared": weighted,
        "parts_apart.prepared 1": means[0],
        "parts_apart.prepared 2": means[1],
    }
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert total.item() == pytest.approx(2 * weighted, rel=1e-5)
    assert same(part(losses, "student").calls[0][0], student)
    for index, teacher in enumerate(teachers):
        assert same_calls(part(losses, "parts_apart", index), [(None, teacher)])


def test_the_state_of_every_teacher_s_parts_is_saved(registry, contexts, step):
    student, teachers, batch = step
    entries = [
        loss_spec("kd"),
        loss_spec("crd", dim=4, negatives=5),
        loss_spec("align_uniform", dim=3),
        loss_spec("parts"),
    ]
    torch.manual_seed(1)
    losses = MultiTeacherLoss(entries, registry, contexts, WEIGHTS)
    for _ in range(2):  # the banks move
        losses(student, teachers, batch)
    state = {name: tensor.clone() for name, tensor in losses.state_dict().items()}
    torch.manual_seed(2)
    other = MultiTeacherLoss(entries, registry, contexts, WEIGHTS)
    assert any(not torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())
    other.load_state_dict(state, strict=True)
    assert state.keys() == other.state_dict().keys()
    results = []
    for each in (losses, other):
        torch.manual_seed(5)
        results.append(each(student, teachers, batch)[0])
    assert torch.equal(*results)
    separate = [part(losses, name, index) for name in ("crd", "align_uniform") for index in (0, 1)]
    owned = {id(parameter) for loss in (part(losses, "parts"), *separate) for parameter in loss.parameters()}
    assert {id(parameter) for parameter in losses.parameters()} == owned


def test_the_ensemble_has_a_second_view(registry, contexts, step):
    """The mean of the teachers' logits for it, as for the first one."""
    student, teachers, batch = step
    views = [Outputs(-each.logits, each.embedding) for each in teachers]
    both = [replace(each, second_view=view) for each, view in zip(teachers, views, strict=True)]
    losses = MultiTeacherLoss([loss_spec("on_logits")], registry, contexts, WEIGHTS)
    losses(student, both, batch)
    ((_, mean),) = part(losses, "on_logits").calls
    torch.testing.assert_close(mean.second_view.logits, -mean.logits)
