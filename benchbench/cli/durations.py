"""Times on the command line: seconds, or a number with a unit."""

from __future__ import annotations

import math
import re
from typing import Any

import click

UNITS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):
    """A time in seconds, more than 0 and finite: `90`, `90s`, `15min`, `2h`, `1.5d`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        match = re.fullmatch(r"([0-9.e+-]+) *([a-z]*)", text)
        try:
            seconds = float(match[1]) * UNITS[match[2]] if match else float("nan")
        except (ValueError, KeyError):
            seconds = float("nan")
        if not math.isfinite(seconds) or seconds <= 0:
            self.fail(f"'{value}' is no time above 0; give seconds, or a time such as 90s, 15min or 2h", param, ctx)
        return seconds


DURATION = Duration()


class Hours(click.FloatRange):
    """Hours, more than 0 and finite."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        hours: float = super().convert(value, param, ctx)
        if not math.isfinite(hours):
            self.fail(f"'{value}' is no number of hours", param, ctx)
        return hours


HOURS = Hours()
