"""The ONNX file gives the student's logits, for any number of images."""

from __future__ import annotations

import sys

import pytest
import torch

from benchbench.errors import ExportError
from benchbench.export import ExportOptions, export_student
from benchbench.export.load import load_trained

TEACHER = {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}}
REUSED = {"distil": {"method": "distill", "loss": {"simkd": 1}}}


@pytest.fixture
def student(trained):
    """With a head that no library can build: it leaves as ONNX alone."""
    return trained("cifar/resnet8", teachers=TEACHER, arms=REUSED)


@pytest.mark.whole_run
def test_it_gives_the_student_s_logits(student, store, tmp_path, capfd):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export_student(store, student, ExportOptions(tmp_path / "out", onnx=True))
    assert done.files == ["README.md", "model.onnx"]
    assert list(done.differences) == ["onnxruntime"]
    session = runtime.InferenceSession(done.folder / "model.onnx", providers=["CPUExecutionProvider"])
    model, _ = load_trained(student.path)
    for count in (1, 5):
        images = torch.rand(count, 3, 32, 32)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.no_grad():
            expected = model(images).logits
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)
    assert "model.onnx" in (done.folder / "README.md").read_text()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra(student, store, tmp_path, monkeypatch, library):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, library, None)  # as import answers for what is not installed
    with pytest.raises(ExportError, match=rf"--onnx needs {library} .*; pip install 'benchbench\[onnx\]'"):
        export_student(store, student, ExportOptions(tmp_path / "out", onnx=True))
    assert not (tmp_path / "out").exists()
