"""Amounts of bytes on the command line."""

from __future__ import annotations

import math
import re
from typing import Any

import click

UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class ByteSize(click.ParamType):
    """An amount of bytes: `500MB`, `10GB`, `1.5TB`, `8GiB`, or a number of bytes; 0 too."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9.]+) *([kmgt]?i?)b?", str(value).strip().lower())
        try:
            number = float(match[1]) * (UNITS | BINARY)[match[2]] if match else math.nan
        except (ValueError, KeyError):
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"'{value}' is no size; give bytes, or a size such as 500MB, 10GB or 8GiB", param, ctx)
        return round(number)


BYTE_SIZE = ByteSize()


def size_text(num_bytes: int) -> str:
    """Bytes in three digits: 512 B, 1.23 kB, 45.6 MB, 7.89 GB."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if num_bytes >= unit:
            number = num_bytes / unit
            return f"{number:.{2 - min(2, len(str(int(number))) - 1)}f} {name}"
    return f"{num_bytes} B"
