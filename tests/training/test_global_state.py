"""State of the process that a component leaves changed is found, named and put back."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from torch._dynamo.mutation_guard import install_generation_tagging_init
from torch.nn import functional as F

from benchbench.errors import GlobalStateError
from benchbench.training.global_state import StateWatch


class Mode(torch.overrides.TorchFunctionMode):
    pass


HELD = []


def entered(context) -> None:
    """Entered, and never left."""
    HELD.append(context)
    context.__enter__()


SETTINGS: dict[str, Callable[[], object]] = {
    "default dtype from torch.float32 to torch.float64": lambda: torch.set_default_dtype(torch.float64),
    "default device from None to meta": lambda: torch.set_default_device("meta"),
    "function modes from 0 to 1": lambda: entered(Mode()),
    "inference mode from False to True": lambda: entered(torch.inference_mode()),
    "gradients from True to False": lambda: torch.set_grad_enabled(False),
    "autocast from False": lambda: entered(torch.autocast("cpu", torch.bfloat16)),
    "number of threads from 1 to 2": lambda: torch.set_num_threads(2),
    "deterministic algorithms from False, False to True": lambda: torch.use_deterministic_algorithms(
        True, warn_only=True
    ),
    "precision of float32 from": lambda: torch.set_float32_matmul_precision("medium"),
    "precision of float32 from ": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "precision of float32 from n": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "cuDNN's choices from False, False, True to True, False, True": lambda: setattr(
        torch.backends.cudnn, "benchmark", True
    ),
    "oneDNN from True to False": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "attention kernels from True, True, True to False, True, True": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "anomaly detection from False to True": lambda: torch.autograd.set_detect_anomaly(True),
    "flushing of denormal numbers from False to True": lambda: torch.set_flush_denormal(True),
}
SLOW: dict[str, Callable[[], object]] = {
    "working folder from": lambda: os.chdir("/"),
    "environment variable BENCHBENCH_TEST": lambda: os.environ.update(BENCHBENCH_TEST="1"),
    "torch.nn.functional.cross_entropy was replaced": lambda: setattr(F, "cross_entropy", F.mse_loss),
    "torch.Tensor.softmax was replaced": lambda: setattr(torch.Tensor, "softmax", torch.Tensor.relu),
    "torch.Tensor.__pow__ was replaced": lambda: setattr(torch.Tensor, "__pow__", torch.Tensor.__mul__),
    "torch.nn.modules.linear.Linear.forward was replaced": lambda: setattr(
        torch.nn.Linear, "forward", torch.nn.Identity.forward
    ),
    "torch.optim.sgd.SGD.step was replaced": lambda: setattr(torch.optim.SGD, "step", torch.optim.Adam.step),
    "torch.softmax was replaced": lambda: setattr(torch, "softmax", torch.log_softmax),
}


@pytest.fixture(autouse=True)
def _the_usual_state():
    """Whatever a test leaves, since the others share the process."""
    torch.set_num_threads(1)
    watch = StateWatch()
    yield
    watch.changes(thorough=True)
    HELD.clear()


@pytest.mark.parametrize("text", [*SETTINGS, *SLOW])
def test_a_change_is_named_and_put_back(text):
    watch = StateWatch()
    assert watch.changes(thorough=True) == []
    (SETTINGS | SLOW)[text]()
    changes = watch.changes(thorough=text in SLOW)
    assert [change.text for change in changes if change.text.startswith(text)], changes
    assert watch.changes(thorough=text in SLOW) == []
    result = torch.ones(2, requires_grad=True) + 1
    assert (result.dtype, result.device.type, result.requires_grad) == (torch.float32, "cpu", True)


@pytest.mark.parametrize("text", [*SETTINGS, *SLOW])
def test_it_can_be_changed_again(text):
    """For the stage of the component that did, once it has the process for itself."""
    if "mode" in text or "autocast" in text:
        pytest.skip("a context that was entered is not entered again")
    watch = StateWatch()
    (SETTINGS | SLOW)[text]()
    for change in watch.changes(thorough=True):
        change.again()
    assert [change for change in watch.changes(thorough=True) if change.text.startswith(text)]


def test_a_turn_that_leaves_all_as_it_was():
    watch = StateWatch()
    with watch.turn(thorough=True), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)


def test_what_torch_does_itself_is_no_change():
    """An optimiser's class gets another `step` when it is first used; AdamW inherits the one that it hides."""
    if "step" in vars(torch.optim.AdamW):
        del torch.optim.AdamW.step
    watch, parameter = StateWatch(), torch.nn.Parameter(torch.ones(1))
    before = torch.optim.Rprop.step
    torch.optim.Rprop([parameter])
    torch.optim.AdamW([parameter])
    assert torch.optim.Rprop.step is not before
    install_generation_tagging_init()  # as the first call of `torch.compile` does
    assert torch.nn.Module.__init__.__module__ == "torch._dynamo.mutation_guard"
    assert watch.changes(thorough=True) == []


def test_a_turn_that_does_not_is_an_error():
    watch = StateWatch()
    message = r"state of the process was changed: default dtype from torch\.float32 to"
    with pytest.raises(GlobalStateError, match=message), watch.turn():
        torch.set_default_dtype(torch.float64)
    assert torch.get_default_dtype() == torch.float32


def test_an_error_in_a_turn_stays_that_and_all_is_put_back():
    watch = StateWatch()

    def breaks() -> None:
        torch.set_grad_enabled(False)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), watch.turn():
        breaks()
    assert torch.is_grad_enabled()


def test_what_is_accepted_is_no_change():
    watch = StateWatch()
    torch.set_num_threads(2)
    watch.accept()
    assert watch.changes(thorough=True) == []
    assert torch.get_num_threads() == 2
