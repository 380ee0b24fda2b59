"""Types in words, and their limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, FiniteFloat

from benchbench.suite.type_words import limits_of, type_in_words


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (bool, "true or false"),
        (Path, "path"),
        (FiniteFloat | None, "number"),
        (dict[str, list[int] | None], "mapping from text to list of integers"),
        (list[Annotated[int, Field(ge=1)]], "list of integers (≥ 1)"),
        (Literal["kernel", "neighbours"], "`kernel` or `neighbours`"),
        (tuple[float, float], "list of 2 numbers"),
    ],
)
def test_types(annotation, words):
    assert type_in_words(annotation) == words


def test_limits():
    assert limits_of([Field(gt=0, le=1.5), Field(max_length=3)]) == "> 0, ≤ 1.5, length ≤ 3"
