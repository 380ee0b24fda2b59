"""Tasks in a plan beside the class of each image: heads of networks, and what of a suite cannot work on them."""

from __future__ import annotations

from dataclasses import replace

from benchbench.components import NEEDS_IN_WORDS, Component, Params, Registry
from benchbench.data.info import DataInfo, Task
from benchbench.errors import did_you_mean
from benchbench.planning.draft import PlanDraft
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.planning.model import corpus_of
from benchbench.planning.resolve import Resolver
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.specs.parts import ModelSpec
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.reporting import BOX_METRICS, DENSE_METRICS, METRICS, PIXEL_METRICS
from benchbench.suite.schema import Arm, Ref, WeightedRef

CLASSIFICATION: Task = "classification"
# Of each task, the classes that an image has, its metrics and its head where a network names none.
LABELS: dict[Task, str] = {
    "classification": "one class each",
    "segmentation": "a class for every pixel",
    "detection": "boxes with classes",
}
TARGETS: dict[Task, str] = {"segmentation": "masks", "detection": "boxes"}
TASK_METRICS: dict[Task, tuple[str, ...]] = {
    "classification": tuple(name for name in METRICS if name not in DENSE_METRICS),
    "segmentation": PIXEL_METRICS,
    "detection": BOX_METRICS,
}
HEADS: dict[Task, Ref] = {"segmentation": Ref(name="fpn"), "detection": Ref(name="fcos")}
# Parameters of heads that decide where their points are.
POINTS = ("finest", "extra_levels")
# Of fields of a recipe that neither a segmentation nor a detection can have.
REASONS = {
    "views": "outputs of a {task} are too large to be kept",
    "eval_resize": "a {task} is tested on whole images, with the longer side at image_size",
    "sampling": "an image of a {task} has {labels} of many classes, and cannot balance them",
    "class_weights": "{labels} of a {task} are not counted before a training; write a weight for each class",
    "devices": "a {task} trains on one device so far",
    "decode": "{labels} of a {task} move with their images on the CPU",
}


def with_metric(file: SuiteFile, info: dict[str, DataInfo], registry: Registry) -> SuiteFile:
    """A suite about the measure of its task.

    Raises:
        SuiteError: its data sets are of several tasks, or a metric or a head that it asks for is of another one; there
            is no such metric.
    """
    tasks = {label: info[label].task for label in file.suite.data}
    first = next(iter(tasks))
    for label, task in tasks.items():
        if task != tasks[first]:
            problem = f"data set '{label}' is a {task}, and '{first}' a {tasks[first]}"
            raise file.error(problem, ("data", label, "source"), "give each task a suite of its own")
    task = tasks[first]
    _require_heads(file, task)
    metric, asked = file.suite.metric, "metric" in file.suite.model_fields_set
    others = [each.component.name for each in registry.of_kind("metric")]
    fit = [*TASK_METRICS[task], *(each.name for each in metrics_of_task(registry, task))]
    if metric not in (*METRICS, *others):
        raise file.error(f"metric '{metric}' does not exist; {did_you_mean(metric, fit)}", ["metric"])
    if metric in fit:
        return file
    if asked:
        problem = f"metric {metric} is of another task, and images of '{first}' have {LABELS[task]}"
        raise file.error(problem, ["metric"], f"take of {', '.join(fit)}")
    return replace(file, suite=file.suite.model_copy(update={"metric": fit[0]}))


def metrics_of_task(registry: Registry, task: Task) -> list[Component]:
    """The metrics that read the answers of a task: of images with one class, where a component says no other."""
    metrics = [each.component for each in registry.of_kind("metric")]
    return [each for each in metrics if task_of(each) == task]


def task_of(metric: Component) -> Task:
    """The task whose answers a metric reads."""
    return "detection" if metric.boxes else "segmentation" if metric.dense else "classification"


def _require_heads(file: SuiteFile, task: Task) -> None:
    """Refuses heads on maps where images have one class, and would have none."""
    for section, entries in (("students", file.suite.students), ("teachers", file.suite.teachers)):
        for label, entry in entries.items():
            if entry.head is not None and task == CLASSIFICATION:
                problem = f"head '{entry.head.name}' is of segmentations or detections, and here an image has one class"
                raise file.error(problem, (section, label, "head"), "take it out")


def checked_head(model: ModelSpec, task: Task, loc: Loc, draft: PlanDraft, builder: SpecBuilder) -> ModelSpec:
    """A network with its head on maps; by default the one of its task.

    Args:
        model: its spec, for one class of each image.
        task: of its data set.
        loc: of the network, `students` or `teachers` and its label.
        draft: the plan so far.
        builder: of the stage's spec; it takes the head among its components.

    Raises:
        SuiteError: it names an unknown head, or one of another task.
    """
    entries = draft.suite.students if loc[0] == "students" else draft.suite.teachers
    ref, here = entries[str(loc[1])].head or HEADS[task], [*loc, "head"]
    head, registry = builder.component("head", ref, here), draft.resolver.registry
    of_boxes = task == "detection"
    if registry.get("head", ref.name).boxes != of_boxes:
        fit = [each.component.name for each in registry.of_kind("head") if each.component.boxes == of_boxes]
        raise draft.resolver.file.error(f"head '{ref.name}' gives no {TARGETS[task]}", here, f"take {' or '.join(fit)}")
    return model.model_copy(update={"head": head})


def check_task(
    file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, resolver: Resolver, task: Task
) -> TrainingSpec:
    """The spec of a training on a segmentation or a detection, without views.

    Raises:
        SuiteError: its method, or a field of its recipe, is of images with one class each.
    """
    recipe, targets = merged.recipe, TARGETS[task]
    refused = {
        "views": recipe.views is not None,
        "eval_resize": recipe.eval_resize is not None,
        "sampling": recipe.sampling == "balanced",
        "class_weights": recipe.class_weights == "balanced",
        "devices": recipe.devices > 1,
        "decode": recipe.decode == "gpu",
    }
    for field, is_set in refused.items():
        if is_set:
            reason = REASONS[field].format(task=task, labels="pixels" if task == "segmentation" else "boxes")
            raise file.error(f"{field}: {reason}", merged.loc_of(field), "take it out")
    if task == "detection" and recipe.class_weights is not None:
        raise file.error("class_weights: the head of a detection weights no classes", merged.loc_of("class_weights"))
    for index, ref in enumerate(recipe.augment):
        loc = [*merged.loc, index, ref.name]
        component = resolver.component("augmenter", ref.name, loc)
        if not _keeps(component.params, task):
            others = [each.component for each in resolver.registry.of_kind("augmenter")]
            fit = [other.name for other in others if _keeps(other.params, task)]
            problem = f"augmenter '{ref.name}' does not move the {targets} of a {task} with its images"
            raise file.error(problem, loc, f"take of {', '.join(fit)}")
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"views": None})})


def _keeps(params: type[Params], task: Task) -> bool:
    """True where an augmenter leaves the targets of a task where they belong."""
    if task == "detection":
        return params.masks == "kept" or params.boxes == "moved"
    return params.masks is not None


def check_arm(label: str, arm: Arm, data: str, draft: PlanDraft) -> None:
    """Refuses an arm that cannot work on the task of its data set.

    Raises:
        SuiteError: a loss is of another task; or, on a segmentation or a detection, its method is `published`, or it
            trains on generated images.
    """
    resolver, task = draft.resolver, draft.info[data].task
    if arm.method == "published":
        require_classes(("arms", label, "method"), data, "take finetune", draft)
    if task != CLASSIFICATION and arm.synthetic is not None:
        problem = f"generated images have no {TARGETS[task]}, and a {task} trains on them"
        raise resolver.file.error(problem, ("arms", label, "synthetic"), "take it out")
    for ref in arm.loss:
        check_loss(ref, ("arms", label, "loss", ref.name), data, draft)


def require_classes(loc: Loc, data: str, remedy: str, draft: PlanDraft) -> None:
    """Refuses a published classifier where images have other labels than one class.

    Raises:
        SuiteError: they have.
    """
    task = draft.info[data].task
    if task != CLASSIFICATION:
        problem = f"published classifiers are of images, and a {task} has {LABELS[task]}"
        raise draft.resolver.file.error(problem, loc, remedy)


def check_loss(ref: WeightedRef, loc: Loc, data: str, draft: PlanDraft) -> None:
    """Refuses a loss that is of another task than its data set.

    Raises:
        SuiteError: it is, or has a parameter that is.
    """
    resolver, task, label = draft.resolver, draft.info[data].task, corpus_of(data) or data
    component = resolver.component("loss", ref.name, loc)
    params = resolver.params(component, ref.params, loc).model_dump()
    for need, reader in (("pixels", "segmentation"), ("boxes", "detection")):
        if task != reader and need in component.needs_of(params):
            by = [f"without `{name}`" for name, needs in component.optional.items() if need in needs]
            problem = f"loss '{ref.name}' reads {NEEDS_IN_WORDS[need]}, and images of '{label}' have {LABELS[task]}"
            raise resolver.file.error(problem, loc, f"take it {by[0] if by else 'out'}")
    own = {"segmentation": component.dense, "detection": component.boxes}.get(task, True)
    if not own:
        fit = [
            each.component.name
            for each in resolver.registry.of_kind("loss")
            if (each.component.dense if task == "segmentation" else each.component.boxes)
        ]
        problem = f"loss '{ref.name}' reads one class of each image, and those of '{label}' have {LABELS[task]}"
        raise resolver.file.error(problem, loc, f"take of {', '.join(fit)}")
    if task == "detection" and params.get("label_smoothing"):
        raise resolver.file.error(f"label_smoothing of '{ref.name}' does nothing on a detection", loc, "take it out")


def check_points(spec: TrainingSpec, label: str, teacher: ModelSpec, draft: PlanDraft) -> None:
    """Refuses a teacher whose head has other points than the student's, where a loss compares them point by point.

    Strides of the maps are known when the networks are built alone, so that this sees parameters of one kind of head.

    Args:
        spec: of the student's training.
        label: of the teacher.
        teacher: its model.
        draft: the plan so far.

    Raises:
        SuiteError: it has.
    """
    own, other, registry = spec.model.head, teacher.head, draft.resolver.registry
    if own is None or other is None or own.name != other.name:
        return
    for loss in spec.loss:
        of_points = registry.get("loss", loss.name).needs_of(loss.params) >= {"teacher.logits", "boxes"}
        for name in POINTS if of_points else ():
            ours, theirs = own.params.get(name), other.params.get(name)
            if ours != theirs:
                problem = f"loss '{loss.name}' compares boxes point by point, and the head of '{label}' has"
                problem = f"{problem} {name}: {str(theirs).lower()}, that of its student {str(ours).lower()}"
                raise draft.resolver.file.error(problem, ("teachers", label, "head"), f"give both the same {name}")
