"""Checks of the mean and standard deviation of a model's input, and of its number of channels."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from benchbench.specs.parts import Json
from benchbench.suite.fields import Positive

CHANNELS = 3
# Parameters by which libraries choose the channels of a network's input.
CHANNEL_PARAMETERS = ("in_chans", "in_channels", "input_channels")
# Above any value of pixels in 0..1.
MOST = 10.0


def _channels(value: Any) -> Any:
    """Three numbers, of red, green and blue."""
    if not isinstance(value, list | tuple | None) or (value is not None and len(value) != CHANNELS):
        count = len(value) if isinstance(value, list | tuple) else 1
        problem = "write three numbers, for red, green and blue, and not {count}; grey images come in three, too"
        raise PydanticCustomError("channels", problem, {"count": count})
    for number in value or ():
        if isinstance(number, int | float) and number > MOST:
            problem = "images have values in 0..1 here; divide by 255 what is for 0..255 (given: {number})"
            raise PydanticCustomError("channels", problem, {"number": number})
    return value


def _three_channels(params: Json) -> Json:
    """Parameters of a model, which takes images of three channels.

    Raises:
        PydanticCustomError: they ask for another number.
    """
    for name in CHANNEL_PARAMETERS:
        if params.get(name, CHANNELS) != CHANNELS:
            problem = "{name}: every image comes in three channels, grey ones too; take it out (given: {given})"
            raise PydanticCustomError("channels", problem, {"name": name, "given": str(params[name])})
    return params


ModelParams = Annotated[Json, AfterValidator(_three_channels)]
Mean = Annotated[tuple[float, float, float] | None, BeforeValidator(_channels)]
Std = Annotated[tuple[Positive, Positive, Positive] | None, BeforeValidator(_channels)]
