"""Every loss on a CUDA device: it stays there, never makes the host wait, and gives the CPU's values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchbench.losses import benchbench_losses
from benchbench.testing.losses import LossCase, leaves, run
from tests.cuda import CUDA, STUB, assert_on_device, no_waiting

pytestmark = pytest.mark.cuda
COMPONENTS = {component.name: component for component in benchbench_losses()}
# The host reads whether a singular value decomposition has converged; on the stub cuSOLVER has no memory for one.
WAITING = {"kdsvd"}
FORMS = [(name, {}) for name in COMPONENTS] + [
    ("align_uniform", {"dense": True, "positions": 3}),
    ("cwd", {"logits": True}),
]


@pytest.mark.parametrize(("name", "params"), FORMS)
def test_a_step_stays_on_the_device_without_waiting(name, params):
    if name in WAITING:
        pytest.skip("its singular value decomposition waits for the device")
    case = LossCase(COMPONENTS[name], params, device=CUDA)
    loss = case.build()
    assert_on_device(*loss.parameters(), *loss.buffers())
    run(loss, case.step())[0].backward()  # what happens once, such as the choice of pairs of maps
    step = case.step(seed=1)
    with no_waiting():
        total, terms = run(loss, step)
        if total.requires_grad:
            total.backward()
    assert_on_device(total, *terms.values(), *_gradients(step[0]))


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_first_stage_stays_on_the_device_without_waiting(name):
    case = LossCase(COMPONENTS[name], device=CUDA)
    loss = case.build()
    if not loss.preparing():
        return
    loss.prepare(*case.step())[0].backward()
    step = case.step(seed=1)
    with no_waiting():
        total, terms = loss.prepare(*step)
        total.backward()
    assert_on_device(total, *terms.values(), *_gradients(step[0]))


@pytest.mark.skipif(STUB is not None, reason="numbers mean nothing on the stub")
@pytest.mark.parametrize("name", COMPONENTS)
def test_values_and_gradients_are_the_cpus(name):
    sides: list[list[Tensor]] = []
    for device in (CUDA, torch.device("cpu")):
        case = LossCase(COMPONENTS[name], device=device)
        loss, step = case.build(), case.step()
        total, terms = run(loss, step)
        if device == CUDA and any(not torch.equal(terms[key], value) for key, value in run(loss, step, 6)[1].items()):
            return  # it draws random numbers, or keeps a bank: other ones on each device
        if total.requires_grad:
            total.backward()
        sides.append([each.detach().cpu() for each in (*terms.values(), *_gradients(step[0]))])
    for ours, theirs in zip(*sides, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def _gradients(outputs) -> list[Tensor]:
    return [tensor.grad for tensor in leaves(outputs) if tensor.grad is not None]
