"""Export: a trained student as files that its library loads without BenchBench, with a model card."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.errors import BenchBenchError, ExportError, StoreError, one_line
from benchbench.export.card import given_by, model_card
from benchbench.export.forms import Form, Student, answers_of, at_full_size, cifar_form, own_form, torchvision_form
from benchbench.export.load import load_trained
from benchbench.export.onnx_form import onnx_form
from benchbench.export.timm_form import timm_form
from benchbench.specs.parts import CHANNELS
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.store import StageFolder, Store

FORMS: dict[str, Callable[[Student], Form]] = {
    "timm": timm_form,
    "torchvision": torchvision_form,
    "cifar": cifar_form,
}
# Logits and boxes of the copy may differ by this share of the largest: sums in another order, nothing else. Scores are
# at most 1, and come from logits many times as large.
TOLERANCE, SCORE_TOLERANCE = 1e-4, 1e-3


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        out: the new folder; default: `exports/KEY`.
        onnx: whether to write an ONNX file too; a student that its library cannot build is written as that alone.
        licence: for the card; None for unknown.
        plugins: plugin files that its model or losses come from.
    """

    out: Path | None = None
    onnx: bool = False
    licence: str | None = None
    plugins: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ExportResult:
    """A folder that an export has written.

    Attributes:
        folder: the new one.
        files: names of its files.
        differences: the largest difference between a logit, box or score of a form and `load_trained`'s, by form.
        note: says that the student's library does not load it, and why; else None.
        given: what was compared, in words.
    """

    folder: Path
    files: list[str]
    differences: dict[str, float]
    note: str | None = None
    given: str = "logits"


def export_student(store: Store, stage: StageFolder, options: ExportOptions = ExportOptions()) -> ExportResult:
    """Writes a trained student for its own library (and as ONNX), and checks it before the folder appears.

    Args:
        store: with the stages that it depends on.
        stage: its own, finished.
        options: destination, forms and licence.

    Raises:
        StoreError: its weights are damaged, or the folder exists or cannot be written.
        ExportError: the student does not fit the form, or its copy gives other logits.
    """
    out = options.out or Path("exports") / stage.path.name
    if out.exists():
        raise StoreError(f"{out} exists already; give another folder with --out DIR")
    student = _load_student(stage, options.plugins)
    if student.spec.model.channels != CHANNELS:
        takes = f"and this one takes {student.spec.model.channels}; `benchbench.load_trained` loads it"
        raise ExportError(f"exports are of networks for images of three channels, {takes}")
    forms = _forms(student, stage, options.onnx)
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"cannot write to {out.parent} ({one_line(error)}); use another --out DIR") from None
    try:
        differences = {form.name: _write_checked(form, student, folder) for form in forms}
        card = model_card(student, store, forms, differences, options.licence)
        (folder / "README.md").write_text(card, encoding="utf-8")
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    files = sorted(path.name for path in out.iterdir())
    return ExportResult(out, files, differences, _note(student), given_by(student))


def _note(student: Student) -> str | None:
    if student.task == "classification":
        return None
    return f"{student.source} builds no {student.task}: benchbench.export.forms.load_exported loads these files"


def _forms(student: Student, stage: StageFolder, onnx: bool) -> list[Form]:
    """The form of the student's library, where it can build the student; and ONNX."""
    if student.task != "classification":
        return [own_form(student), *([onnx_form(student)] if onnx else [])]
    try:
        forms = [FORMS[student.source](student)] if student.source in FORMS else [_no_form(student)]
    except ExportError as error:
        if not onnx:
            raise ExportError(
                f"{error}; load it with benchbench.export.load.load_trained('{stage.path}'), or use --onnx"
            ) from None
        forms = []
    return [*forms, onnx_form(student)] if onnx else forms


def _load_student(stage: StageFolder, plugins: tuple[Path, ...]) -> Student:
    model, classes = load_trained(stage.path, plugins)
    spec, record = stage.read_spec(), stage.done()
    assert isinstance(spec, TrainingSpec)
    assert isinstance(record, TrainingRecord)
    if record.chosen is not None:
        spec = spec.model_copy(update={"recipe": record.chosen.recipe, "loss": record.chosen.loss})
    return Student(at_full_size(model), classes, spec, record, plugins)


def _no_form(student: Student) -> Form:
    raise ExportError(f"models of '{student.source}' have no form that another program loads")


@torch.no_grad()
def _write_checked(form: Form, student: Student, folder: Path) -> float:
    """Writes a form, loads it anew and compares its answers with the student's; gives the largest difference."""
    images = _images(student.size)
    expected = answers_of(student.model, images)
    try:
        form.write(folder)
        answers = form.answers(folder, images)
    except BenchBenchError:
        raise
    except Exception as error:  # of any class that a library raises; torch's exporter adds pages of advice
        reason = one_line(str(error).strip().partition("\n")[0])[:300] or type(error).__name__
        raise ExportError(f"{student.label} cannot be written for {form.name}, or loaded by it ({reason})") from error
    return max(
        _difference(form, student, name, *pair)
        for name, *pair in zip(_ANSWERS[student.task], answers, expected, strict=True)
    )


# What a network gives, by its task.
_ANSWERS = {"classification": ["logits"], "segmentation": ["logits"], "detection": ["boxes", "scores"]}


def _difference(form: Form, student: Student, name: str, given: Tensor, expected: Tensor) -> float:
    if given.shape != expected.shape:
        raise ExportError(f"the {form.name} form gives {name} {list(given.shape)}, not {list(expected.shape)}")
    difference = (given - expected).abs().max().item()
    bound = SCORE_TOLERANCE if name == "scores" else TOLERANCE * max(expected.abs().max().item(), 1.0)
    if not difference <= bound:
        raise ExportError(
            f"loaded by {form.name}, {student.label} gives other {name} (by up to {difference:.3g}); nothing is written"
        )
    return difference


def _images(size: int) -> Tensor:
    """Patches of colour, coarse to fine, [8, 3, size, size] in 0..1: noise alone looks the same to a network."""
    random = torch.Generator().manual_seed(0)
    widths = [min(width, size) for width in (1, 2, 3, 4, 6, 8, 16, size)]
    patches = [torch.rand(1, 3, width, width, generator=random) for width in widths]
    return torch.cat([F.interpolate(patch, size=(size, size)) for patch in patches])
