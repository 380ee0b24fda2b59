"""The weighted sum of losses, classes and functions alike."""

from __future__ import annotations

import operator
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.components import Component, Offer
from benchbench.errors import PluginError, StageError, UnknownNameError
from benchbench.losses import benchbench_losses
from benchbench.losses.base import Loss
from benchbench.losses.methods.crd import CRD
from benchbench.losses.methods.kd import distillation_kl
from benchbench.losses.weighted_sum import TEACHER_NEEDS, LossSum
from benchbench.plugins import load_plugins
from benchbench.specs.parts import LossSpec
from benchbench.testing.losses import leaves
from tests.specs import loss_spec


def as_tensor(student, teacher, batch, factor: float = 1.0):
    return factor * student.embedding.square().mean()


def as_terms(student, teacher, batch, *, power: int):
    return {"first": student.logits.abs().pow(power).mean(), "second": teacher.embedding.mean()}


class Bank(Loss):
    def __init__(self, context, size: int = 3):
        super().__init__(context)
        self.weight = nn.Parameter(torch.ones(size))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, student, teacher, batch):
        self.seen += 1
        return {"bank": self.weight.sum() * student.embedding.mean(), "seen": self.seen.clone()}


class Probe(Loss):
    """Notes the outputs that it is called with, and whether autocast is on."""

    prepares = "student"

    def __init__(self, context):
        super().__init__(context)
        self.preparation, self.calls = 0.5, []

    def forward(self, student, teacher, batch):
        self.calls.append((student, teacher, torch.is_autocast_enabled("cpu")))
        return {"probe": student.embedding.sum() * teacher.embedding.sum()}

    prepare = forward


@pytest.fixture
def registry():
    registry = load_plugins().registry
    for name in ("as_tensor", "as_terms", "absent"):
        registry.add(Offer("loss", Component(name, f"{__name__}:{name}"), "here"))
    registry.add(Offer("loss", Component("bank", f"{__name__}:Bank", needs=frozenset({"features"})), "here"))
    return registry


def test_the_sum_is_weighted_and_the_terms_are_not(registry, context, make_step):
    student, teacher, batch = make_step()
    entries = [
        loss_spec("ce", 0.5),
        loss_spec("kd", 3.0, temperature=2.0),
        loss_spec("as_tensor", 0.25, factor=4.0),
        loss_spec("as_terms", 7.0, power=3),
        loss_spec("bank", 2.0, size=5),
    ]
    total, terms = LossSum(entries, registry, context)(student, teacher, batch)
    expected = {
        "ce": nn.functional.cross_entropy(student.logits, batch.labels),
        "kd": distillation_kl(student.logits, teacher.logits, 2.0),
        "as_tensor": 4 * (student.embedding**2).mean(),
        "as_terms.first": (student.logits.abs() ** 3).mean(),
        "as_terms.second": teacher.embedding.mean(),
        "bank": 5 * student.embedding.mean(),
        "bank.seen": torch.ones(()),
    }
    assert list(terms) == list(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5), name
    weights = {"ce": 0.5, "kd": 3, "as_tensor": 0.25, "as_terms": 7, "bank": 2}
    by_hand = sum(weights[name.partition(".")[0]] * value.item() for name, value in expected.items())
    assert total.shape == ()
    assert total.item() == pytest.approx(by_hand, rel=1e-5)


def test_gradients_are_weighted(registry, context, make_step):
    student, teacher, batch = make_step()
    LossSum([loss_spec("as_tensor", 3.0)], registry, context)(student, teacher, batch)[0].backward()
    expected = 3 * 2 * student.embedding.detach() / student.embedding.numel()
    assert torch.allclose(student.embedding.grad, expected, atol=1e-6)


def test_terms_of_one_loss_are_named_after_it(registry, context, make_step):
    _, terms = LossSum([loss_spec("align_uniform"), loss_spec("ce")], registry, context)(*make_step())
    assert list(terms) == ["align_uniform.align", "align_uniform.uniform", "ce"]


def test_it_owns_the_losses_parts(registry, context):
    losses = LossSum(
        [loss_spec("ce"), loss_spec("as_tensor"), loss_spec("bank", size=4), loss_spec("crd", dim=2)], registry, context
    )
    state = losses.state_dict()
    assert {name.split(".")[1] for name in state} == {"bank", "crd"}
    assert state["parts.bank.weight"].shape == (4,)
    assert any(parameter is losses.parts["crd"].student_projector[0].weight for parameter in losses.parameters())
    assert isinstance(losses.parts["crd"], CRD)
    again = LossSum([loss_spec("bank", size=4), loss_spec("crd", dim=2)], registry, context)
    again.load_state_dict(state, strict=True)


def test_it_sees_without_a_teacher(registry, context, make_step):
    student, _, batch = make_step()
    context = replace(context, teacher_dim=None, teacher_head=None)
    total, terms = LossSum([loss_spec("ce", 2.0)], registry, context)(student, None, batch)
    assert total.item() == pytest.approx(2 * terms["ce"].item())


@pytest.mark.parametrize(("names", "expected"), [(["ce", "as_tensor"], False), (["ce", "bank"], True)])
def test_it_asks_for_features_where_a_loss_does(registry, context, names, expected):
    assert LossSum([loss_spec(name) for name in names], registry, context).needs_features is expected


def test_an_unknown_loss_is_suggested_for(registry, context):
    with pytest.raises(UnknownNameError, match="unknown loss 'srl'; did you mean 'srrl'"):
        LossSum([loss_spec("srl")], registry, context)


def test_a_loss_that_is_not_there_is_one_line(registry, context):
    with pytest.raises(PluginError, match="component 'absent': cannot load") as caught:
        LossSum([loss_spec("absent")], registry, context)
    assert "\n" not in str(caught.value)


def test_a_function_in_a_plugin_file_is_a_loss(tmp_path, context, make_step):
    file = tmp_path / "my_losses.py"
    file.write_text(
        "import benchbench\n\n\n"
        "def gap(student, teacher, batch, *, scale):\n"
        "    return scale * (student.embedding.mean() - teacher.embedding.mean()).abs()\n\n\n"
        "class GapParams(benchbench.Params):\n"
        "    scale: float = 1.0\n\n\n"
        "@benchbench.hookimpl\n"
        "def benchbench_losses():\n"
        "    yield benchbench.Component('gap', f'{__name__}:gap', GapParams)\n"
    )
    losses = LossSum([loss_spec("gap", 2.0, scale=5.0)], load_plugins([file]).registry, context)
    student, teacher, batch = make_step()
    total, terms = losses(student, teacher, batch)
    expected = 5 * (student.embedding.mean() - teacher.embedding.mean()).abs().item()
    assert terms["gap"].item() == pytest.approx(expected)
    assert total.item() == pytest.approx(2 * expected)


def test_a_loss_named_like_a_column_of_the_curve_is_refused(registry, context):
    registry.add(Offer("loss", Component("loss", f"{__name__}:as_tensor"), "here"))
    with pytest.raises(PluginError, match="a loss cannot be called 'loss'"):
        LossSum([loss_spec("loss")], registry, context)


class TestInputs:
    """The outputs that each loss is called with."""

    @pytest.fixture
    def losses(self, registry, context):
        component = Component("probe", f"{__name__}:Probe", needs=frozenset({"teacher", "features"}))
        registry.add(Offer("loss", component, "here"))
        return LossSum([loss_spec("probe")], registry, context)

    @pytest.mark.parametrize("stage", ["forward", "prepare"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_they_are_float32_outside_of_autocast_and_the_teacher_s_are_constants(
        self, losses, make_step, stage, dtype
    ):
        step = make_step(dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16):
            total, _ = getattr(losses, stage)(*step)
        ((student, teacher, autocast),) = losses.parts["probe"].calls
        assert not autocast
        for read, given in zip((student, teacher), step, strict=False):
            for tensor, original in zip(leaves(read), leaves(given), strict=True):
                assert tensor.dtype == torch.float32
                assert torch.equal(tensor, original.float())
                assert tensor.requires_grad is (read is student)
        total.backward()
        assert step[0].embedding.grad.abs().sum() > 0
        assert step[0].embedding.grad.dtype == dtype
        assert all(tensor.grad is None for tensor in leaves(step[1]))

    def test_float32_tensors_are_not_copied(self, losses, make_step):
        student, teacher, batch = make_step()
        losses(student, teacher, batch)
        ((read, constants, _),) = losses.parts["probe"].calls
        assert all(map(operator.is_, leaves(read), leaves(student)))
        assert [each.data_ptr() for each in leaves(constants)] == [each.data_ptr() for each in leaves(teacher)]

    def refusal(self, registry, context, *names: str) -> str:
        try:
            LossSum([loss_spec(name) for name in names], registry, context)
        except StageError as error:
            return str(error)
        return f"{names} is built"

    def test_a_loss_that_needs_a_teacher_is_not_built_without_one(self, registry, context):
        without = replace(context, teacher_dim=None, teacher_head=None, teacher_features=[])
        names = [each.name for each in benchbench_losses() if each.needs & TEACHER_NEEDS]
        assert len(names) > 40
        for name in names:
            assert f"loss '{name}' needs a teacher" in self.refusal(registry, without, "ce", name)

    @pytest.mark.parametrize("side", ["student", "teacher"])
    def test_a_loss_on_maps_is_not_built_where_a_network_has_none(self, registry, context, side):
        without = replace(context, **{f"{side}_features": []})
        names = [each.name for each in benchbench_losses() if "features" in each.needs]
        assert len(names) > 15
        for name in names:
            expected = f"loss '{name}' reads feature maps, and this {side} has none"
            assert expected in self.refusal(registry, without, name)


class TestGeneratedImages:
    """Losses that see real images alone, beside one that sees all."""

    @pytest.fixture
    def sums(self, registry, context):
        entries = [LossSpec(name="as_tensor", weight=2.0, images="real"), loss_spec("as_terms", power=1)]
        return LossSum(entries, registry, context), LossSum(entries[:1], registry, context)

    def test_each_sees_its_own(self, sums, make_step):
        student, teacher, batch = make_step()
        generated = torch.arange(len(batch.labels)) % 3 == 0
        mixed = replace(batch, synthetic=generated)
        total, terms = sums[0](student, teacher, mixed)
        assert torch.equal(terms["as_tensor"], student.embedding[~generated].square().mean())
        assert torch.equal(terms["as_terms.first"], student.logits.abs().mean())
        assert total == 2 * terms["as_tensor"] + terms["as_terms.first"] + terms["as_terms.second"]

    def test_without_generated_images_nothing_changes(self, sums, make_step):
        student, teacher, batch = make_step()
        plain = sums[0](student, teacher, batch)
        none = sums[0](student, teacher, replace(batch, synthetic=torch.zeros(len(batch.labels), dtype=torch.bool)))
        assert torch.equal(plain[0], none[0])

    def test_a_batch_without_a_real_image_is_left_out(self, sums, make_step):
        student, teacher, batch = make_step()
        only_generated = replace(batch, synthetic=torch.ones(len(batch.labels), dtype=torch.bool))
        total, terms = sums[1](student, teacher, only_generated)
        assert (float(total), terms) == (0.0, {})
