"""Parts of a suite file that its tables alone read: none is part of a key."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from benchbench.suite.fields import Percent, Positive, Strict


class Statistics(Strict):
    """Margin and level of the tests in the tables. It is part of no key: changing it runs nothing again."""

    margin: float = Field(0.5, gt=0, le=100, description="points of accuracy that an arm may lose and still match")
    alpha: float = Field(
        0.05, gt=0, le=0.5, description="intervals hold 1 - alpha; each one-sided test is made at alpha / 2"
    )


# Of segmentations and of detections; the first one is what a suite compares where it names none.
PIXEL_METRICS = ("miou", "pixel_accuracy")
BOX_METRICS = ("map", "ap50")
DENSE_METRICS = (*PIXEL_METRICS, *BOX_METRICS)
METRICS = ("accuracy", "balanced_accuracy", "top5_accuracy", *DENSE_METRICS)


# One of `METRICS`, or of a plugin: the plan looks for it.
Metric = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w-]*$")]


class Factors(Strict):
    """Prices of device-hours and energy. They are part of no key, and nothing is assumed where nothing is given."""

    price: Positive | None = Field(None, description="of a device-hour, in `currency`")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Za-z$€£¥]{1,5}$")] = Field("USD", description="of `price`")
    grams_co2: float | None = Field(None, ge=0, description="grams of CO2 equivalent of a kilowatt-hour")
    watts: Positive | None = Field(
        None, description="of one device (GPU, or CPU core) at work, for an estimate where no energy was measured"
    )
    source: str = Field("", max_length=300, description="reference for the factors; printed below the table")


class Published(Strict):
    """Accuracies (%) that others have published for this grid, to be printed beside the reproduced ones."""

    source: str = Field(min_length=1, max_length=300, description="paper and table")
    data: str = Field(description="the label of the data set")
    accuracy: dict[str, dict[str, Percent]] = Field({}, description="by arm and student")
    teachers: dict[str, Percent] = Field({}, description="by teacher")
