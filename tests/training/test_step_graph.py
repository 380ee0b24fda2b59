"""Steps as CUDA graphs: what is refused; and on a GPU, that they give the numbers of plain steps."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from benchbench.data.batch import Batch
from benchbench.execution.graph_pool import GraphPool
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.models.backbone import Backbone, Trunk
from benchbench.training import teachers
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort, SharedInputs
from benchbench.training.loop import train
from benchbench.training.step_graph import StepGraph, WatchedBatch, host_state
from benchbench.training.teachers import LiveTeacher
from tests.cuda import CUDA, STUB
from tests.data.test_on_cuda import BATCH, loader
from tests.training.small import CPU
from tests.training.test_on_cuda import make_member, network


def batch() -> Batch:
    return Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64), torch.arange(2), 0.5)


@pytest.mark.parametrize("name", ["epoch", "host_index"])
def test_a_watched_batch_notes_numbers_of_the_host(name):
    watched = WatchedBatch(**vars(batch()))
    assert watched.images.shape == (2, 3, 4, 4)
    assert watched.main_labels.tolist() == [0, 0]
    assert watched.read is None
    assert getattr(watched, name) == getattr(batch(), name)
    assert watched.read == name


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.zeros(3))
        self.calls = 0


def changes(change) -> set[str]:
    module = nn.Sequential(Counter())
    before = host_state([module])
    change(module[0])
    after = host_state([module])
    return {name for name in before if before[name] != after[name]}


def test_the_host_state_is_what_a_graph_does_not_repeat():
    assert changes(lambda module: module.bank.add_(1)) == set()  # in place: a graph repeats it
    assert changes(lambda module: setattr(module, "bank", module.bank + 1)) == {"0.bank"}
    assert changes(lambda module: setattr(module, "calls", 1)) == {"0.calls"}
    assert changes(lambda module: torch.rand(1)) == {"random numbers of the host"}


class Case:
    """A student of KD behind a teacher, with steps as graphs or plain."""

    def __init__(self, folder, graphs: bool, **recipe):
        pool = GraphPool(CUDA) if graphs else None
        teacher = ConfiguredModel(network("resnet14").freeze(), ExecutionConfig("bf16", True), CUDA)
        self.teacher = LiveTeacher(teacher, graphs)
        self.inputs = SharedInputs(loader(), None, [self.teacher], BATCH, 0, CUDA)
        member = make_member(folder, teacher=teacher.model, epochs=4, **recipe)
        self.member = dataclasses.replace(member, graph_pool=pool)

    def run(self) -> None:
        cohort = Cohort([self.member], self.inputs, Clock(CUDA))
        train(cohort)
        assert not cohort.failures, cohort.failures


class Recorded:
    """A graph that never is one, and knows the memory that it was given."""

    def __init__(self, step, pool, modules):
        self.step, self.pool = step, pool

    def __call__(self, batch, teacher_outputs):
        return self.step(batch, teacher_outputs)


def test_each_teacher_s_graphs_have_memory_of_their_own(monkeypatch):
    """One may be captured after graphs of students, and these would go over its outputs."""
    monkeypatch.setattr(teachers, "GraphPool", lambda device: object())
    monkeypatch.setattr(teachers, "StepGraph", Recorded)
    trunk = Trunk(nn.Flatten(), 48, (0.5,) * 3, (0.5,) * 3, with_features=lambda images: (images.flatten(1), [images]))
    pools = []
    for _ in range(2):
        teacher = LiveTeacher(ConfiguredModel(Backbone(trunk, 5).freeze(), ExecutionConfig(), CPU), graphs=True)
        assert [len(teacher(batch(), maps).features) for maps in (True, False)] == [1, 0]
        pools.append({id(graph.pool) for graph in teacher._graphs.values()})
    assert [len(each) for each in pools] == [1, 1]
    assert pools[0] != pools[1]


@pytest.mark.cuda
@pytest.mark.skipif(STUB is not None, reason="kernels of the stub compute nothing")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_graphs_give_the_numbers_of_plain_steps(tmp_path, optimizer, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    plain, graphs = (Case(tmp_path, each, optimizer=optimizer) for each in (False, True))
    plain.run()
    graphs.run()
    assert graphs.member.graph.captured
    assert graphs.teacher.captured
    assert graphs.member.curve == plain.member.curve
    for ours, theirs in zip(graphs.member.model.parameters(), plain.member.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda batch, _: batch.images.sum() * batch.epoch, "reads the batch's epoch"),
        (lambda batch, _: batch.images.sum().item(), "waits for the device"),
    ],
)
def test_a_step_that_a_graph_cannot_repeat_stays_as_it_is(step, reason):
    on = batch()
    on = Batch(on.images.to(CUDA), on.labels.to(CUDA), on.index.to(CUDA), 0.5)
    graph = StepGraph(step, GraphPool(CUDA), [])
    for _ in range(6):
        graph(on, [])
    assert reason in graph.refused
    assert not graph.captured


@pytest.mark.cuda
def test_training_goes_on_where_a_capture_fails(tmp_path, monkeypatch):
    def fail(self, step):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(GraphPool, "capture", fail)
    case = Case(tmp_path, True)
    case.run()
    assert "not permitted" in case.member.graph.refused
    assert len(case.member.curve) == 4
