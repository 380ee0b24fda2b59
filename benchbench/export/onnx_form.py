"""The form that any runtime loads: ONNX, with the normalisation inside and a free batch size."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from benchbench.errors import ExportError, one_line
from benchbench.export.forms import Form, Student

FILE = "model.onnx"


class _Logits(nn.Module):
    """Images [B, 3, H, W] in 0..1 -> logits [B, classes], or of a segmentation [B, classes, H, W]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images).logits
        return logits


def onnx_form(student: Student) -> Form:
    """An ONNX file, checked by onnxruntime.

    Raises:
        ExportError: the libraries for it are not installed.
    """
    _library("onnx")
    _library("onnxscript")
    runtime = _library("onnxruntime")

    def write(folder: Path) -> None:
        images = torch.zeros(2, 3, student.size, student.size)
        batch = torch.export.Dim("batch")
        with _quiet():
            program = torch.onnx.export(
                _Logits(student.model).eval(),
                (images,),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"images": {0: batch}},
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.model.metadata_props["names"] = json.dumps(student.classes)
            program.save(folder / FILE, external_data=False)

    def logits(folder: Path, images: Tensor) -> Tensor:
        session = runtime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    usage = f"""\
import json

import onnxruntime

session = onnxruntime.InferenceSession("{FILE}")
# float32 images [B, 3, {student.size}, {student.size}] in 0..1: the file normalises them itself
(logits,) = session.run(["logits"], {{"images": images}})
{_names(student)}"""
    return Form("onnxruntime", write, logits, usage)


def _names(student: Student) -> str:
    """Lines of Python that give the names of classes, which lie in the file, and the masks of a segmentation."""
    lines = 'names = json.loads(session.get_modelmeta().custom_metadata_map["names"])\n'
    if student.is_segmentation:
        lines += "masks = logits.argmax(1)  # of logits [B, classes, H, W], at the size of the images\n"
    return lines


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(f"--onnx needs {name} ({one_line(error)}); pip install 'benchbench[onnx]'") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress and deprecations off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
