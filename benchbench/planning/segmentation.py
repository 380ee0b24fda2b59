"""Segmentations in a plan: heads of networks, and what of a suite cannot work on them."""

from __future__ import annotations

from dataclasses import replace

from benchbench.data.info import DataInfo
from benchbench.errors import did_you_mean
from benchbench.planning.draft import PlanDraft
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.planning.model import corpus_of
from benchbench.planning.resolve import Resolver
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.reporting import PIXEL_METRICS
from benchbench.suite.schema import Arm, WeightedRef

SEGMENTATION = "segmentation"
PUBLISHED_OF_IMAGES = "published classifiers are of images, and a segmentation has a class for every pixel"
# Of fields of a recipe that a segmentation cannot have.
REASONS = {
    "views": "outputs for every pixel are too large to be kept",
    "eval_resize": "a segmentation is tested on whole images, with the longer side at image_size",
    "sampling": "an image of a segmentation has pixels of many classes, and cannot balance them",
    "class_weights": "pixels of a segmentation are not counted before a training; write a weight for each class",
    "devices": "a segmentation trains on one device so far",
}


def with_metric(file: SuiteFile, info: dict[str, DataInfo]) -> SuiteFile:
    """A suite about the measure of its task.

    Raises:
        SuiteError: its data sets are of several tasks, or a metric or a head that it asks for is of another one.
    """
    tasks = {label: info[label].task for label in file.suite.data}
    first = next(iter(tasks))
    for label, task in tasks.items():
        if task != tasks[first]:
            problem = f"data set '{label}' is a {task}, and '{first}' a {tasks[first]}"
            raise file.error(problem, ("data", label, "source"), "give each task a suite of its own")
    metric, asked = file.suite.metric, "metric" in file.suite.model_fields_set
    of_pixels = metric in PIXEL_METRICS
    if tasks[first] != SEGMENTATION:
        if of_pixels:
            raise file.error(f"metric {metric} is of segmentations", ["metric"], "take accuracy")
        _require_no_heads(file)
        return file
    if asked and not of_pixels:
        hint = did_you_mean(metric, PIXEL_METRICS)
        raise file.error(f"metric {metric} is of images with one class each; {hint}", ["metric"])
    return file if of_pixels else replace(file, suite=file.suite.model_copy(update={"metric": PIXEL_METRICS[0]}))


def _require_no_heads(file: SuiteFile) -> None:
    """Refuses heads of segmentations in a suite without one, where they would do nothing."""
    for section, entries in (("students", file.suite.students), ("teachers", file.suite.teachers)):
        for label, entry in entries.items():
            if entry.head is not None:
                problem = f"head '{entry.head.name}' is of segmentations, and the data sets have one class an image"
                raise file.error(problem, (section, label, "head"), "take it out")


def check_segmentation(file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, resolver: Resolver) -> TrainingSpec:
    """The spec of a training on a segmentation, without views.

    Raises:
        SuiteError: its method, or a field of its recipe, is of images with one class each.
    """
    recipe = merged.recipe
    refused = {
        "views": recipe.views is not None,
        "eval_resize": recipe.eval_resize is not None,
        "sampling": recipe.sampling == "balanced",
        "class_weights": recipe.class_weights == "balanced",
        "devices": recipe.devices > 1,
    }
    for field, is_set in refused.items():
        if is_set:
            raise file.error(f"{field}: {REASONS[field]}", merged.loc_of(field), "take it out")
    for index, ref in enumerate(recipe.augment):
        loc = [*merged.loc, index, ref.name]
        component = resolver.component("augmenter", ref.name, loc)
        if component.params.masks is None:
            others = [each.component for each in resolver.registry.of_kind("augmenter")]
            fit = [other.name for other in others if other.params.masks]
            problem = f"augmenter '{ref.name}' does not move the masks of a segmentation with its images"
            raise file.error(problem, loc, f"take of {', '.join(fit)}")
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"views": None})})


def check_arm(label: str, arm: Arm, data: str, draft: PlanDraft) -> None:
    """Refuses an arm that cannot work on the task of its data set.

    Raises:
        SuiteError: a loss is of another task; or, on a segmentation, its method is `published`, or it trains on
            generated images.
    """
    resolver = draft.resolver
    if draft.info[data].task == SEGMENTATION and arm.method == "published":
        raise resolver.file.error(PUBLISHED_OF_IMAGES, ("arms", label, "method"), "take finetune")
    if draft.info[data].task == SEGMENTATION and arm.synthetic is not None:
        problem = "generated images have no masks, and a segmentation trains on them"
        raise resolver.file.error(problem, ("arms", label, "synthetic"), "take it out")
    for ref in arm.loss:
        check_loss(ref, ("arms", label, "loss", ref.name), data, draft)


def check_loss(ref: WeightedRef, loc: Loc, data: str, draft: PlanDraft) -> None:
    """Refuses a loss that is of another task than its data set.

    Raises:
        SuiteError: it reads one class of each image, and they are masks; or the other way round.
    """
    resolver, task, label = draft.resolver, draft.info[data].task, corpus_of(data) or data
    component = resolver.component("loss", ref.name, loc)
    if task == SEGMENTATION and not component.dense:
        fit = [each.component.name for each in resolver.registry.of_kind("loss") if each.component.dense]
        problem = f"loss '{ref.name}' reads one class of each image, and '{label}' has one for every pixel"
        raise resolver.file.error(problem, loc, f"take of {', '.join(fit)}")
    params = resolver.params(component, ref.params, loc).model_dump()
    if task != SEGMENTATION and "pixels" in component.needs_of(params):
        by = [f"without `{name}`" for name, needs in component.optional.items() if "pixels" in needs]
        problem = f"loss '{ref.name}' reads the classes of pixels, and '{label}' has one class of each image"
        raise resolver.file.error(problem, loc, f"take it {by[0] if by else 'out'}")
