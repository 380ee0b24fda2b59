"""A trained student leaves BenchBench: as files that its library loads alone, with a model card."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.errors import BenchBenchError, ExportError, StoreError, one_line
from benchbench.export.card import model_card
from benchbench.export.forms import Form, Student, cifar_form, torchvision_form
from benchbench.export.load import load_trained
from benchbench.export.onnx_form import onnx_form
from benchbench.export.timm_form import timm_form
from benchbench.plan.keys import unwrap
from benchbench.store import StageFolder, Store, read_json

FORMS: dict[str, Callable[[Student], Form]] = {
    "timm": timm_form,
    "torchvision": torchvision_form,
    "cifar": cifar_form,
}
# Logits of the copy may differ by this share of the largest logit: sums in another order, nothing else.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        folder: where it is.
        files: names of its files.
        difference: the largest difference between a logit of a form and `load_trained`'s, by form.
    """

    folder: Path
    files: list[str]
    difference: dict[str, float]


def export_student(
    store: Store, stage: StageFolder, out: Path | None, onnx: bool, licence: str | None, plugins: tuple[Path, ...] = ()
) -> Exported:
    """Writes a trained student for its own library (and as ONNX), and checks it before the folder appears.

    Args:
        store: where the stages are that it stands on.
        stage: its own, finished.
        out: the new folder; default: `exports/KEY`.
        onnx: whether to write an ONNX file too; a student that its library cannot build is written as that alone.
        licence: what the card says; None for unknown.
        plugins: plugin files that its model or losses come from.

    Raises:
        StoreError: its weights are damaged, or the folder exists or cannot be written.
        ExportError: the student does not fit the form, or what was written gives other logits.
    """
    out = out or Path("exports") / stage.path.name
    if out.exists():
        raise StoreError(f"{out} exists already; give another folder with --out DIR")
    student = _student(stage, plugins)
    try:
        forms = [FORMS[student.source](student)] if student.source in FORMS else [_no_form(student)]
    except ExportError as error:
        if not onnx:
            raise ExportError(
                f"{error}; load it with benchbench.export.load.load_trained('{stage.path}'), or use --onnx"
            ) from None
        forms = []
    forms += [onnx_form(student)] if onnx else []
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"cannot write to {out.parent} ({one_line(error)}); use another --out DIR") from None
    try:
        differences = {form.name: _checked(form, student, folder) for form in forms}
        card = model_card(student, store, forms, differences, licence)
        (folder / "README.md").write_text(card, encoding="utf-8")
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exported(out, sorted(path.name for path in out.iterdir()), differences)


def _student(stage: StageFolder, plugins: tuple[Path, ...]) -> Student:
    model, classes = load_trained(stage.path, plugins)
    spec: dict[str, Any] = read_json(stage.spec)
    record = stage.done()
    assert record is not None
    return Student(model, classes, spec["job"], unwrap(spec["job"]["model"]), record)


def _no_form(student: Student) -> Form:
    raise ExportError(f"models of '{student.source}' have no form that another program loads")


@torch.no_grad()
def _checked(form: Form, student: Student, folder: Path) -> float:
    """Writes a form, loads it anew and compares its logits with the student's; gives the largest difference."""
    images = _images(student.size)
    expected = student.model(images).logits
    assert expected is not None
    try:
        form.write(folder)
        found: Tensor = form.logits(folder, images)
    except BenchBenchError:
        raise
    except Exception as error:  # of any library's kind; with torch's exporter there come pages of advice
        reason = one_line(str(error).strip().partition("\n")[0])[:300] or type(error).__name__
        raise ExportError(f"{student.shown} cannot be written for {form.name}, or loaded by it ({reason})") from error
    if found.shape != expected.shape:
        raise ExportError(f"the {form.name} form gives logits {list(found.shape)}, not {list(expected.shape)}")
    difference = (found - expected).abs().max().item()
    if not difference <= TOLERANCE * max(expected.abs().max().item(), 1.0):
        raise ExportError(
            f"loaded by {form.name}, {student.shown} gives other logits (by up to {difference:.3g}); nothing is written"
        )
    return difference


def _images(size: int) -> Tensor:
    """Patches of colour, coarse to fine, [8, 3, size, size] in 0..1: noise alone looks the same to a network."""
    random = torch.Generator().manual_seed(0)
    sides = [min(side, size) for side in (1, 2, 3, 4, 6, 8, 16, size)]
    patches = [torch.rand(1, 3, side, side, generator=random) for side in sides]
    return torch.cat([F.interpolate(each, size=(size, size)) for each in patches])
