"""Networks, augmenters and generated images for a data set: its channels and its task."""

from __future__ import annotations

from benchbench.data.info import DataInfo
from benchbench.planning.draft import PlanDraft
from benchbench.planning.model import corpus_of
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.planning.tasks import checked_head
from benchbench.specs.parts import CHANNELS, IN_CHANS, ModelSpec
from benchbench.suite.document import Loc
from benchbench.suite.schema import Recipe

OTHERS = "or leave `channels` out of the data set: its images then come in three"


def for_data(model: ModelSpec, loc: Loc, data: str, draft: PlanDraft, builder: SpecBuilder) -> ModelSpec:
    """A network for the images of a data set, and its task.

    Args:
        model: its spec, for images of three channels and one class each.
        loc: of the network, `students` or `teachers` and its label.
        data: label of the data set.
        draft: the plan so far.
        builder: of the stage's spec; it takes the head among its components.

    Raises:
        SuiteError: its source has networks of three channels alone, or its mean or deviation is of others; its head is
            unknown, or of another task.
    """
    model = _with_channels(model, loc, data, draft)
    if draft.info[data].task == "classification":
        return model
    return checked_head(model, draft.info[data].task, loc, draft, builder)


def _with_channels(model: ModelSpec, loc: Loc, data: str, draft: PlanDraft) -> ModelSpec:
    file, info = draft.resolver.file, draft.info[data]
    for field in ("mean", "std"):
        values = getattr(model, field)
        if values is not None and len(values) != info.channels:
            problem = f"{field} has {len(values)} numbers, and images of {_name(data)} have {info.channels} channels"
            raise file.error(problem, [*loc, field], "give one for each channel")
    if info.channels == CHANNELS:
        return model
    component = draft.resolver.registry.get("student" if loc[0] == "students" else "teacher", model.source)
    if not component.params.takes_channels:
        problem = f"{model.label} takes images of three channels, and those of {_name(data)} have {info.channels}"
        raise file.error(problem, [*loc, "model"], f"take a network of timm or cifar, {OTHERS}")
    return model.model_copy(update={"params": {**model.params, IN_CHANS: info.channels}})


def for_rgb(model: ModelSpec) -> ModelSpec:
    """A network that is measured on images of three channels, without a mean and a deviation of others."""
    others = {name: None for name in ("mean", "std") if len(getattr(model, name) or [0] * CHANNELS) != CHANNELS}
    return model.model_copy(update=others) if others else model


def require_start(model: ModelSpec, start: str | None, loc: Loc, draft: PlanDraft) -> None:
    """Refuses a network that would start from the weights of one for images of other channels."""
    spec = draft.stages[start].spec if start is not None else None
    channels = getattr(getattr(spec, "model", None), "channels", model.channels)
    if channels != model.channels:
        problem = f"it is pre-trained on images of {channels} channels, and would go on with {model.channels}"
        raise draft.resolver.file.error(problem, loc, "give both data sets the same `channels`")


def require_augmenters(recipe: Recipe, loc: Loc, data: str, draft: PlanDraft) -> None:
    """Refuses augmenters of colours where images are of other channels."""
    info = draft.info[data]
    for index, ref in enumerate(recipe.augment if info.channels != CHANNELS else ()):
        component = draft.resolver.component("augmenter", ref.name, [*loc, index, ref.name])
        if component.params.needs_rgb:
            problem = (
                f"augmenter '{ref.name}' works on red, green and blue, and images of {_name(data)} have {_count(info)}"
            )
            raise draft.resolver.file.error(problem, [*loc, index, ref.name], f"take it out, {OTHERS}")


def require_rgb(what: str, loc: Loc, data: str, draft: PlanDraft) -> None:
    """Refuses something that works on images of three channels alone."""
    info = draft.info[data]
    if info.channels != CHANNELS:
        problem = f"{what} are of three channels, and images of {_name(data)} have {_count(info)}"
        raise draft.resolver.file.error(problem, loc, f"take them out, {OTHERS}")


def _name(data: str) -> str:
    corpus = corpus_of(data)
    return f"'{data}'" if corpus is None else f"the corpus of '{corpus}'"


def _count(info: DataInfo) -> str:
    return f"{info.channels} channel{'s' if info.channels > 1 else ''}"
