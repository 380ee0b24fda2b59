import pytest
import torch

from benchbench.doctor.device import _last_error, bfloat16, compiler, look, usable
from benchbench.hardware.devices import Devices, find_devices

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, and torch can use it")
def test_a_gpu_that_torch_cannot_use_is_a_problem():
    finding = usable(Devices("cuda", "a GPU", ("0",), 4))
    assert finding is not None
    assert finding.level == "problem"
    assert finding.text.startswith("a GPU is there")
    assert finding.advice
    assert usable(find_devices("cpu")) is None


def test_a_processor_is_looked_at():
    findings = {each.name: each for each in look(find_devices("cpu", jobs=1), CPU)}
    assert findings.keys() == {"processor", "bf16", "torch.compile", "energy"}
    assert all(each.level != "problem" for each in findings.values())
    assert bfloat16(CPU).level == "ok"
    assert compiler(CPU).level == "ok"


def test_the_error_is_found_in_a_compilers_output():
    output = (
        "Traceback (most recent call last):\n  File\ntorch._inductor.exc.InductorError: no gcc\n\nSet TORCHDYNAMO=1"
    )
    assert _last_error(output) == "torch._inductor.exc.InductorError: no gcc"
    assert _last_error("killed") == ""
