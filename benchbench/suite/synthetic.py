"""Generated images in a suite: their generation, their use by arms, and the network that measures them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from benchbench.suite.fields import Label, Ref, Strict, TeacherState, one_ref

Share = Annotated[float, Field(ge=0, lt=1)]


class SyntheticEntry(Strict):
    """A set of generated images, generated once for each data set whose arms use it, and shared by all of them."""

    source: Annotated[Ref, BeforeValidator(one_ref)] = Field(
        description="a generator out of `benchbench list augmenters`, as in `{text_to_image: {model: NAME}}`"
    )
    times: float | None = Field(
        None, gt=0, le=1000, description="images of each class, in times its training images; default: 1"
    )
    per_class: int | None = Field(None, ge=1, description="images of each class instead")
    size: int | None = Field(None, ge=8, le=4096, description="pixels a side; default: as generated")
    seed: StrictInt = Field(0, description="seed of the generation")

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.times is not None and self.per_class is not None:
            raise PydanticCustomError("count", "give times or per_class, not both")
        return self

    @property
    def times_or_default(self) -> float | None:
        return 1.0 if self.times is None and self.per_class is None else self.times


class Ramp(Strict):
    """A share that moves evenly from the first epoch to the last: a curriculum."""

    first: Share = Field(description="in the first epoch")
    last: Share = Field(description="in the last one")


def _share(value: Any) -> Any:
    return {"first": value, "last": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class SyntheticUse(Strict):
    """Use of generated images by an arm."""

    set: Label = Field(description="the label of the set")
    times: float | None = Field(
        None, gt=0, description="images to take of each class, in times its training images; default: all of the set"
    )
    losses: list[str] | None = Field(
        None,
        min_length=1,
        description="losses that are computed on them; the others are computed on real images alone; default: all",
    )
    share: Annotated[Ramp | None, BeforeValidator(_share)] = Field(
        None,
        description="share of each batch, or `{first: 0, last: 0.5}`; an epoch then has the steps that it has without "
        "them; default: they are added to the real ones, and all are shuffled",
    )
    labels: Literal["prompt", "teacher"] = Field(
        "prompt", description="the class in the prompt, or the class that the judge predicts"
    )
    teacher: Label | None = Field(None, description="the judge: one of the suite's teachers")
    state: TeacherState | None = Field(None, description="its state")
    min_confidence: float | None = Field(
        None, gt=0, lt=1, description="leave out images to whose label the judge gives a smaller probability"
    )

    @model_validator(mode="after")
    def _judge_is_read(self) -> Self:
        reads_judge = self.labels == "teacher" or self.min_confidence is not None
        if reads_judge and (self.teacher is None or self.state is None):
            raise PydanticCustomError("judge", "labels: teacher and min_confidence need a judge: `teacher` and `state`")
        if not reads_judge and (self.teacher is not None or self.state is not None):
            raise PydanticCustomError(
                "judge", "a judge is given, and nothing reads it: set `labels: teacher` or min_confidence"
            )
        return self


def one_use(value: Any) -> Any:
    """Input of a `SyntheticUse`: the label alone, or a mapping."""
    return {"set": value} if isinstance(value, str) else value


class QualityEntry(Strict):
    """The network that measures generated images: its embedding, and its logits where the state has a task."""

    teacher: Label = Field(description="one of the suite's teachers")
    state: TeacherState = Field("pretrained", description="its state")
