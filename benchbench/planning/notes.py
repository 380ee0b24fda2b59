"""Settings of a plan that work and are hardly meant: one line each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from benchbench.errors import quoted
from benchbench.losses.catalog.comparing import COMPARING
from benchbench.planning.model import Cell, Plan, corpus_label
from benchbench.specs.parts import RecipeSpec
from benchbench.specs.stages import TrainingSpec

# Rates and decays beyond these are in no recipe for such networks that is known to us.
MOST_RATE = {"adamw": 1.0, "sgd": 10.0}
LEAST_RATE, MOST_DECAY = 1e-8, 1.0
NAMED = 3  # trainings that a note names


def plan_notes(plan: Plan) -> list[str]:
    """A line for each kind of setting that does nothing, undoes another, or is far from any known recipe."""
    labels = _data_labels(plan)
    read = any(isinstance(each.spec, TrainingSpec) and _reads_milestones(each.spec) for each in plan.stages.values())
    found: dict[str, dict[str, None]] = {}
    for key, stage in plan.stages.items():
        spec = stage.spec
        if isinstance(spec, TrainingSpec) and spec.method != "published" and not spec.searched:
            images = plan.train_images(spec.data, labels[key]) if key in labels else None
            notes = [*_recipe_notes(spec.recipe, images, read), *_update_notes(spec)]
            notes += ["dot does nothing without a loss with a teacher and one without"] * (key in plan.without_dot)
            for note in [*notes, *_schedule_notes(spec), *_average_notes(spec.recipe, images)]:
                found.setdefault(note, {})[stage.label.partition(" | seed ")[0]] = None
    return [*(f"{note}: {_named(names)}" for note, names in found.items()), *_repetitions(plan.cells)]


def _reads_milestones(spec: TrainingSpec) -> bool:
    return spec.recipe.schedule == "step" and bool(spec.recipe.milestones)


def _data_labels(plan: Plan) -> dict[str, str]:
    """The label of the data set of every stage that a cell needs, by key."""
    labels = {key: corpus_label(label) for key, label in plan.corpora.items()}
    for cell in plan.cells:
        keys = [cell.stage]
        while keys:
            key = keys.pop()
            if key not in labels:
                labels[key] = cell.data
                keys += plan.stages[key].needs.values()
    return labels


def _recipe_notes(recipe: RecipeSpec, images: int | None, milestones_are_read: bool) -> Iterator[str]:
    """Oddities of a recipe; `images` are those that it trains on."""
    if recipe.warmup_epochs and recipe.warmup_epochs >= recipe.epochs:
        yield f"warmup_epochs ({recipe.warmup_epochs:g}) last to the end of {recipe.epochs} epochs"
    if recipe.schedule == "step" and recipe.milestones and recipe.milestones[-1] >= recipe.epochs:
        yield f"milestones {list(recipe.milestones)} reach beyond {recipe.epochs} epochs"
    if recipe.milestones and not milestones_are_read:
        yield f"milestones are read by `schedule: step` alone, and it is {recipe.schedule}"
    if images is not None and recipe.batch_size > images:
        yield f"batch_size {recipe.batch_size} is more than the {images} training images, which make one batch"
    if recipe.eval_resize is not None and recipe.eval_resize < recipe.image_size:
        yield f"eval_resize {recipe.eval_resize} is under image_size {recipe.image_size}, which it is raised to"
    for name in ("lr", "head_lr"):
        rate = getattr(recipe, name)
        if rate is not None and not LEAST_RATE <= rate <= MOST_RATE.get(recipe.optimizer, math.inf):
            yield f"{name} {rate:g} is far from any known recipe with {recipe.optimizer}"
    if recipe.weight_decay > MOST_DECAY:
        yield f"weight_decay {recipe.weight_decay:g} is far from any known recipe"
    names = [each.name for each in (*recipe.augment, *recipe.mix)]
    for name in dict.fromkeys(each for each in names if names.count(each) > 1):
        yield f"augmenter '{name}' is listed twice"


def _update_notes(spec: TrainingSpec) -> Iterator[str]:
    """Oddities of the way in which gradients become steps."""
    recipe = spec.recipe
    if recipe.clip_mode != "norm" and recipe.clip_grad is None:
        yield f"clip_mode {recipe.clip_mode} does nothing without clip_grad"
    if recipe.early_stop is not None:
        yield "early_stop may end it sooner, so its images and hours are at most these"
    if recipe.class_weights is not None and all(loss.name != "ce" for loss in spec.loss):
        yield "class_weights are read by the loss `ce` alone, and there is none"
    if recipe.class_weights is not None and recipe.accumulate > 1:
        yield "accumulate: the weighted mean of `class_weights` is taken in each part"
    comparing = [loss.name for loss in spec.loss if loss.name in COMPARING]
    if recipe.accumulate > 1 and comparing:
        size = recipe.batch_size // recipe.accumulate
        names = " and ".join(comparing)
        yield f"accumulate: losses that compare images with each other ({names}) see {size} at a time"


def _schedule_notes(spec: TrainingSpec) -> Iterator[str]:
    """Schedules of losses that the training is too short for, those of presets above all."""
    epochs = spec.recipe.epochs
    for loss in spec.loss:
        for name, problem in (("warmup_epochs", "it never has its whole weight"), ("decay_epoch", "it never decays")):
            value = loss.params.get(name)
            if isinstance(value, int | float) and value > epochs:
                yield f"loss '{loss.name}': {name} {value:g} is beyond {epochs} epochs, so {problem}"


def _average_notes(recipe: RecipeSpec, images: int | None) -> Iterator[str]:
    """Oddities of an average of weights."""
    if recipe.ema is None:
        if recipe.ema_warmup:
            yield "ema_warmup does nothing without ema"
        return
    steps = recipe.epochs * max(1, (images or 0) // recipe.batch_size)
    length = round(1 / (1 - recipe.ema))
    if images is not None and steps < length and not recipe.ema_warmup:
        hint = "take a smaller one, or `ema_warmup: true`"
        yield f"ema {recipe.ema} averages over {length:,} steps, and there are {steps:,}; {hint}"


def _repetitions(cells: Iterable[Cell]) -> Iterator[str]:
    """Cells of different labels that are one training."""
    first: dict[str, Cell] = {}
    pairs: dict[tuple[str, str], None] = {}
    for cell in cells:
        other = first.setdefault(cell.stage, cell)
        if other is not cell:
            pairs[_difference(other, cell)] = None
    shown = [f"'{quoted(one)}' and '{quoted(two)}'" for one, two in pairs]
    if shown:
        more = f" (and {len(shown) - NAMED} more)" if len(shown) > NAMED else ""
        yield f"one training under two labels, counted as two results: {', '.join(shown[:NAMED])}{more}"


def _difference(one: Cell, other: Cell) -> tuple[str, str]:
    """The labels in which two cells differ."""
    for name in ("row", "data", "student"):
        if getattr(one, name) != getattr(other, name):
            return getattr(one, name), getattr(other, name)
    return f"{one.row}, {one.student}", f"{other.row}, {other.student}"


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" (and {len(listed) - NAMED} more)" if len(listed) > NAMED else ""
    return ", ".join(quoted(each) for each in listed[:NAMED]) + more
