"""Common parts of the losses on embeddings."""

from __future__ import annotations

import copy
from functools import partial
from itertools import product

import pytest
import torch

from benchbench.losses.embeddings import unit
from benchbench.losses.methods.cc import CC
from benchbench.losses.methods.embedding_cosine import EmbeddingCosine
from benchbench.losses.methods.embedding_mse import EmbeddingMSE
from benchbench.losses.methods.info_nce import InfoNCE
from benchbench.losses.methods.pkt import PKT
from benchbench.losses.methods.rkd import RKD
from benchbench.losses.methods.seed import SEED
from benchbench.losses.methods.sp import SP
from benchbench.losses.methods.srd import SRD
from benchbench.losses.methods.vid import VID
from benchbench.losses.methods.vkd import VkD
from benchbench.losses.methods.wcord import WCoRD
from benchbench.models.outputs import Outputs

RELATIONS = {"pkt": PKT, "rkd": RKD, "cc": CC, "sp": SP}
CONNECTED = {"embedding_mse": EmbeddingMSE, "embedding_cosine": EmbeddingCosine}
PROJECTED = {"vid": VID, "info_nce": InfoNCE, "srd": SRD, "vkd": VkD, "wcord": WCoRD}
LOSSES = RELATIONS | CONNECTED | PROJECTED | {"seed": partial(SEED, queue=8)}


def test_unit():
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0], [1e-20, 0.0]], requires_grad=True)
    z = unit(x)
    z[:2].sum().backward()
    torch.testing.assert_close(z.detach(), torch.tensor([[0.6, -0.8], [0, 0], [1, 0]]))
    assert x.grad[:2].abs().max() <= 1


@pytest.mark.parametrize("name", LOSSES)
def test_task_logits_are_not_needed(name, context, make_step):
    student, teacher, batch = make_step()
    loss = LOSSES[name](context)
    expected = copy.deepcopy(loss)(student, teacher, batch)  # a copy: some keep what they have seen
    terms = loss(Outputs(None, student.embedding), Outputs(None, teacher.embedding), batch)
    assert all(torch.equal(terms[term], expected[term]) for term in expected)


@pytest.mark.parametrize("name", LOSSES)
def test_degenerate_embeddings_have_a_bounded_gradient(name, context, make_step):
    for size, case in product([1, 2, 5], ["one zero", "all zero", "two alike", "all alike"]):
        student, teacher, batch = make_step(size)
        h = student.embedding.detach().clone()
        if case == "one zero":
            h[0] = 0
        elif case == "all zero":
            h[:] = 0
        else:
            h[: size if case == "all alike" else 2] = h[0].clone()
        student.embedding = h.requires_grad_()
        terms = LOSSES[name](context)(student, teacher, batch)
        sum(terms.values()).backward()
        assert all(term.isfinite() for term in terms.values()), (size, case)
        assert h.grad.abs().max() < 1e3, (size, case)


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_are_kept_by_a_copy_a_rotation_and_a_scale(name, context, make_step):
    _, teacher, batch = make_step()
    rotation = torch.linalg.qr(torch.randn(11, 11))[0]
    wide = torch.zeros(7, 15)
    wide[:, 2:13] = 2.5 * teacher.embedding.detach() @ rotation  # a student need not be as wide as its teacher
    for embedding in (teacher.embedding.detach(), wide):
        student = Outputs(None, embedding.clone().requires_grad_())
        terms = RELATIONS[name](context)(student, teacher, batch)
        sum(terms.values()).backward()
        assert all(term.item() == pytest.approx(0, abs=1e-6) for term in terms.values())
        assert student.embedding.grad.abs().max() < 1e-5


@pytest.mark.parametrize("name", RELATIONS)
def test_a_batch_of_one_has_no_relations(name, context, make_step):
    student, teacher, batch = make_step(1)
    terms = RELATIONS[name](context)(student, teacher, batch)
    assert all(term.item() == pytest.approx(0, abs=1e-9) for term in terms.values())


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_have_nothing_to_train_and_follow_the_samples_order(name, context, make_step):
    student, teacher, batch = make_step()
    loss = RELATIONS[name](context)
    assert not loss.state_dict()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    expected = loss(student, teacher, batch)
    shuffled = loss(Outputs(None, student.embedding[order]), Outputs(None, teacher.embedding[order]), batch)
    mixed = loss(Outputs(None, student.embedding[order]), teacher, batch)
    for term, value in expected.items():
        assert shuffled[term].item() == pytest.approx(value.item(), rel=1e-4)
        assert mixed[term].item() != pytest.approx(value.item(), rel=1e-3)


@pytest.mark.parametrize("name", CONNECTED)
@pytest.mark.parametrize("student_dim", [6, 11])
def test_there_is_a_connector_whatever_the_widths(name, student_dim, context):
    context.student_dim = student_dim
    loss = CONNECTED[name](context)
    assert [tuple(parameter.shape) for parameter in loss.parameters()] == [(11, student_dim), (11,)]
    if student_dim == 11:
        assert not torch.allclose(loss.connector[0].weight, torch.eye(11), atol=0.1)


@pytest.mark.parametrize("name", CONNECTED)
def test_a_connected_student_that_equals_its_teacher_has_no_loss(name, context, make_step):
    _, teacher, batch = make_step()
    context.student_dim = 11
    loss = CONNECTED[name](context)
    with torch.no_grad():
        loss.connector[0].weight.copy_(torch.eye(11))
        loss.connector[0].bias.zero_()
    student = Outputs(None, teacher.embedding.detach().clone().requires_grad_())
    (value,) = loss(student, teacher, batch).values()
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert student.embedding.grad.abs().max() < 1e-6
