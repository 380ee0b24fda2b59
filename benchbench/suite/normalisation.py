"""Checks of the mean and standard deviation of a model's input, and of parameters for its number of channels."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from benchbench.specs.parts import CHANNELS, Json
from benchbench.suite.fields import Positive

# Parameters by which libraries choose the channels of a network's input.
CHANNEL_PARAMETERS = ("in_chans", "in_channels", "input_channels")
# Above any value of pixels in 0..1.
MOST = 10.0


def _channels(value: Any) -> Any:
    """A list of numbers; that they are as many as images have channels is known when the data are."""
    if value is not None and (not isinstance(value, list | tuple) or not value):
        raise PydanticCustomError("channels", "write a list with a number for each channel, as in [0.5, 0.5, 0.5]")
    for number in value or ():
        if isinstance(number, int | float) and number > MOST:
            problem = "images have values in 0..1 here; divide by 255 what is for 0..255 (given: {number})"
            raise PydanticCustomError("channels", problem, {"number": number})
    return value


def _of_the_data(params: Json) -> Json:
    """Parameters of a model, whose channels are those of the data.

    Raises:
        PydanticCustomError: they ask for another number.
    """
    for name in CHANNEL_PARAMETERS:
        if params.get(name, CHANNELS) != CHANNELS:
            problem = "{name}: the data set gives the channels of images, by `channels`; take it out (given: {given})"
            raise PydanticCustomError("channels", problem, {"name": name, "given": str(params[name])})
    return params


ModelParams = Annotated[Json, AfterValidator(_of_the_data)]
Mean = Annotated[tuple[float, ...] | None, BeforeValidator(_channels)]
Std = Annotated[tuple[Positive, ...] | None, BeforeValidator(_channels)]
