"""The weighted sum of losses, classes and functions alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.components import Component, Offer
from benchbench.errors import PluginError, UnknownNameError
from benchbench.losses.base import Loss
from benchbench.losses.methods.crd import CRD
from benchbench.losses.methods.kd import distillation_kl
from benchbench.losses.weighted_sum import LossSum
from benchbench.plugins import load_plugins


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


@pytest.fixture
def registry():
    found = load_plugins().registry
    for name in ("as_tensor", "as_terms", "absent"):
        found.add(Offer("loss", Component(name, f"{__name__}:{name}"), "here"))
    found.add(Offer("loss", Component("bank", f"{__name__}:Bank", needs=frozenset({"features"})), "here"))
    return found


def entry(name, weight=1.0, **params):
    return {"name": name, "params": params, "weight": weight}


def test_the_sum_is_weighted_and_the_terms_are_not(registry, context, make_step):
    student, teacher, batch = make_step()
    entries = [
        entry("ce", 0.5),
        entry("kd", 3.0, temperature=2.0),
        entry("as_tensor", 0.25, factor=4.0),
        entry("as_terms", 7.0, power=3),
        entry("bank", 2.0, size=5),
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
    LossSum([entry("as_tensor", 3.0)], registry, context)(student, teacher, batch)[0].backward()
    expected = 3 * 2 * student.embedding.detach() / student.embedding.numel()
    assert torch.allclose(student.embedding.grad, expected, atol=1e-6)


def test_terms_of_one_loss_are_named_after_it(registry, context, make_step):
    _, terms = LossSum([entry("align_uniform"), entry("ce")], registry, context)(*make_step())
    assert list(terms) == ["align_uniform.align", "align_uniform.uniform", "ce"]


def test_it_owns_the_losses_parts(registry, context):
    losses = LossSum([entry("ce"), entry("as_tensor"), entry("bank", size=4), entry("crd", dim=2)], registry, context)
    state = losses.state_dict()
    assert {name.split(".")[1] for name in state} == {"bank", "crd"}
    assert state["parts.bank.weight"].shape == (4,)
    assert any(parameter is losses.parts["crd"].student_projector[0].weight for parameter in losses.parameters())
    assert isinstance(losses.parts["crd"], CRD)
    again = LossSum([entry("bank", size=4), entry("crd", dim=2)], registry, context)
    again.load_state_dict(state, strict=True)


def test_it_sees_without_a_teacher(registry, context, make_step):
    student, _, batch = make_step()
    context = replace(context, teacher_dim=None, teacher_head=None)
    total, terms = LossSum([entry("ce", 2.0)], registry, context)(student, None, batch)
    assert total.item() == pytest.approx(2 * terms["ce"].item())


@pytest.mark.parametrize(("names", "expected"), [(["ce", "as_tensor"], False), (["ce", "bank"], True)])
def test_it_asks_for_features_where_a_loss_does(registry, context, names, expected):
    assert LossSum([entry(name) for name in names], registry, context).needs_features is expected


def test_an_unknown_loss_is_suggested_for(registry, context):
    with pytest.raises(UnknownNameError, match="unknown loss 'srl'; did you mean 'srrl'"):
        LossSum([entry("srl")], registry, context)


def test_a_loss_that_is_not_there_is_one_line(registry, context):
    with pytest.raises(PluginError, match="component 'absent': cannot load") as caught:
        LossSum([entry("absent")], registry, context)
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
    losses = LossSum([entry("gap", 2.0, scale=5.0)], load_plugins([file]).registry, context)
    student, teacher, batch = make_step()
    total, terms = losses(student, teacher, batch)
    expected = 5 * (student.embedding.mean() - teacher.embedding.mean()).abs().item()
    assert terms["gap"].item() == pytest.approx(expected)
    assert total.item() == pytest.approx(2 * expected)


def test_a_loss_named_like_a_column_of_the_curve_is_refused(registry, context):
    registry.add(Offer("loss", Component("loss", f"{__name__}:as_tensor"), "here"))
    with pytest.raises(PluginError, match="a loss cannot be called 'loss'"):
        LossSum([entry("loss")], registry, context)


class TestGeneratedImages:
    """Losses that see real images alone, beside one that sees all."""

    @pytest.fixture
    def sums(self, registry, context):
        entries = [entry("as_tensor", 2.0) | {"images": "real"}, entry("as_terms", power=1)]
        return LossSum(entries, registry, context), LossSum(entries[:1], registry, context)

    def test_each_sees_its_own(self, sums, make_step):
        student, teacher, batch = make_step()
        made = torch.arange(len(batch.labels)) % 3 == 0
        mixed = replace(batch, synthetic=made)
        total, terms = sums[0](student, teacher, mixed)
        assert torch.equal(terms["as_tensor"], student.embedding[~made].square().mean())
        assert torch.equal(terms["as_terms.first"], student.logits.abs().mean())
        assert total == 2 * terms["as_tensor"] + terms["as_terms.first"] + terms["as_terms.second"]

    def test_without_generated_images_nothing_changes(self, sums, make_step):
        student, teacher, batch = make_step()
        plain = sums[0](student, teacher, batch)
        none = sums[0](student, teacher, replace(batch, synthetic=torch.zeros(len(batch.labels), dtype=torch.bool)))
        assert torch.equal(plain[0], none[0])

    def test_a_batch_without_a_real_image_is_left_out(self, sums, make_step):
        student, teacher, batch = make_step()
        made = replace(batch, synthetic=torch.ones(len(batch.labels), dtype=torch.bool))
        total, terms = sums[1](student, teacher, made)
        assert (float(total), terms) == (0.0, {})
