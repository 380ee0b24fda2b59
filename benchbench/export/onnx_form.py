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
from benchbench.export.forms import DETECTION, SEGMENTATION, Answers, Form, Student, answers_of
from benchbench.models.detection import LEAST_SCORE, MOST_DETECTED, OVERLAP

FILE = "model.onnx"


class _Answers(nn.Module):
    """Images [B, 3, H, W] in 0..1 -> `answers_of` the network."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Answers:
        return answers_of(self.model, images)


def onnx_form(student: Student) -> Form:
    """An ONNX file, checked by onnxruntime.

    Raises:
        ExportError: the libraries for it are not installed.
    """
    _library("onnx")
    _library("onnxscript")
    runtime = _library("onnxruntime")
    names = ["boxes", "scores"] if student.task == DETECTION else ["logits"]

    def write(folder: Path) -> None:
        images = torch.zeros(2, 3, student.size, student.size)
        batch = torch.export.Dim("batch")
        with _quiet():
            program = torch.onnx.export(
                _Answers(student.model).eval(),
                (images,),
                input_names=["images"],
                output_names=names,
                dynamic_shapes={"images": {0: batch}},
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.model.metadata_props["names"] = json.dumps(student.classes)
            program.save(folder / FILE, external_data=False)

    def answers(folder: Path, images: Tensor) -> Answers:
        session = runtime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
        return tuple(torch.from_numpy(each) for each in session.run(names, {"images": images.numpy()}))

    return Form("onnxruntime", write, answers, _usage(student))


def _usage(student: Student) -> str:
    """Python that gives a file's answers, and the names of classes, which lie in the file."""
    of_boxes, size = student.task == DETECTION, student.size
    imports = "import json\n\nimport onnxruntime\n"
    if of_boxes:
        imports += "import torch\nfrom torchvision.ops import batched_nms\n"
    answers = "boxes, scores = session.run(None, {" if of_boxes else '(logits,) = session.run(["logits"], {'
    text = f"""\
{imports}
session = onnxruntime.InferenceSession("{FILE}")
# float32 images [B, 3, {size}, {size}] in 0..1: the file normalises them itself
{answers}"images": images}})
names = json.loads(session.get_modelmeta().custom_metadata_map["names"])
"""
    if student.task == SEGMENTATION:
        text += "masks = logits.argmax(1)  # of logits [B, classes, H, W], at the size of the images\n"
    return text + DROP_OVERLAPPING if of_boxes else text


DROP_OVERLAPPING = f"""\
# Corners [B, A, 4] in pixels and scores [B, A, classes] of all boxes: overlapping ones of a class are dropped here.
for corners, values in zip(torch.from_numpy(boxes), torch.from_numpy(scores)):
    points, numbers = (values > {LEAST_SCORE}).nonzero(as_tuple=True)
    corners, values = corners[points], values[points, numbers]
    kept = batched_nms(corners, values, numbers, {OVERLAP})[:{MOST_DETECTED}]
    for corner, score, number in zip(corners[kept].tolist(), values[kept].tolist(), numbers[kept].tolist()):
        print(names[number], score, corner)
"""


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
