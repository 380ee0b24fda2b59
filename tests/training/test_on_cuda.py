"""Training on a CUDA device: steps never make the host wait, a run resumes, and memory comes back after too little."""

from __future__ import annotations

import pytest
import torch

from benchbench.data.batch import Batch
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.hardware.memory import free_memory
from benchbench.losses.multi_teacher import LossSetup, build_losses
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import LossSpec, ModelSpec
from benchbench.store import StageFolder
from benchbench.training.cached_outputs import CachedTeacher
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort, SharedInputs
from benchbench.training.loop import train
from benchbench.training.member import Member
from tests.cuda import CUDA, STUB, assert_on_device, no_waiting
from tests.data.test_on_cuda import BATCH, COUNT, loader
from tests.specs import recipe_spec

pytestmark = pytest.mark.cuda
REGISTRY = load_plugins().registry
HALF = ExecutionConfig("bf16", True)


def network(name: str):
    return build_backbone(ModelSpec(source="cifar", name=name), "student", REGISTRY, 10).to(CUDA)


def make_member(folder, name="resnet8", *, teacher=None, execution=HALF, **recipe) -> Member:
    """A training run from scratch, or with a teacher by KD."""
    student, recipe = network(name), recipe_spec(batch_size=BATCH, image_size=32, **recipe)
    names = ["ce", "kd"] if teacher else ["ce"]
    specs = [
        LossSpec(name=each, weight=1.0, params=REGISTRY.get("loss", each).params().model_dump(mode="json"))
        for each in names
    ]
    labels = torch.arange(COUNT, device=CUDA) % 10
    setup = LossSetup(labels, 32, recipe.epochs, CUDA, (1.0,) if teacher else ())
    return Member(
        model=student,
        losses=build_losses(specs, REGISTRY, student, [teacher] if teacher else [], setup),
        recipe=recipe,
        steps=COUNT // BATCH,
        seed=0,
        best=False,
        device=CUDA,
        execution=execution,
        checkpoints=Checkpoints(StageFolder(folder), 1e9),
        report=lambda progress: None,
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_never_waits(tmp_path, precision):
    execution = ExecutionConfig(precision, channels_last=precision != "fp32")
    teacher = network("resnet14").freeze()
    member = make_member(tmp_path, teacher=teacher, execution=execution)
    member.begin()
    frozen = ConfiguredModel(teacher, execution, CUDA)
    index = torch.arange(BATCH, device=CUDA)
    batch = Batch(torch.rand(BATCH, 3, 32, 32).to(CUDA), index % 10, index)

    def step() -> None:
        with torch.no_grad():
            outputs = frozen(batch.images)
        member.step(batch, [outputs])

    step()  # with the checks of a first step, and the report that is due
    with no_waiting():
        step()
    assert_on_device(*member._sums.values(), *member.model.parameters())


def test_kept_outputs_that_the_device_has_no_room_for_are_read_without_waiting():
    teacher, batches = CachedTeacher(torch.rand(2, COUNT, 10), torch.rand(2, COUNT, 8)), loader(CUDA)
    batch, other = list(batches.train_batches(0, 0, BATCH, 0))[:2]
    teacher(batch, False)
    with no_waiting():
        outputs = teacher(other, False)
    assert_on_device(outputs.logits, outputs.embedding)


def test_a_run_resumes_on_the_device(tmp_path):
    on_device = loader(CUDA)
    inputs = SharedInputs(on_device, None, [], BATCH, 0, CUDA)
    whole = make_member(tmp_path, epochs=2)
    train(Cohort([whole], inputs, Clock(CUDA)))
    first = make_member(tmp_path, epochs=2)
    first.begin()
    batches = list(on_device.train_batches(0, 0, BATCH, 0))
    first.step(batches[0], [])
    first.save()
    second = make_member(tmp_path, epochs=2)
    second.state = second.checkpoints.load()
    second.begin()
    assert second.position == (0, 1)
    states = second.optimizer.state.values()
    assert_on_device(*second._sums.values(), *(state["exp_avg"] for state in states))
    train(Cohort([second], inputs, Clock(CUDA)))
    assert second.done
    assert [row["epoch"] for row in second.curve] == [row["epoch"] for row in whole.curve]


@pytest.mark.allocator
def test_memory_comes_back_when_too_little_has_ended_a_run(tmp_path, monkeypatch):
    if STUB:  # kernels that do nothing leave what was in memory before
        monkeypatch.setattr("benchbench.training.member.require_finite_network", lambda *_: None)
    inputs = SharedInputs(loader(CUDA, size=128), None, [], BATCH, 0, CUDA)

    def run(share: float) -> dict[Member, Exception]:
        """Trains two side by side with a share of the card's memory; gives the errors that ended them."""
        torch.cuda.set_per_process_memory_fraction(share)
        cohort = Cohort([make_member(tmp_path) for _ in range(2)], inputs, Clock(CUDA))
        train(cohort)
        return dict(cohort.failures)

    try:
        assert not run(1.0)
        need = torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(CUDA).total_memory
        free_memory("cuda")
        failures = run(0.7 * need)
        assert [type(error) for error in failures.values()] == [torch.OutOfMemoryError] * 2
        free_memory("cuda")
        assert not run(1.2 * need), "the errors of the first try hold what it had computed"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
