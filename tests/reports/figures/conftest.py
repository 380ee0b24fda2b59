"""Figures in the style of a report."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import print_style


@pytest.fixture
def drawn() -> Callable[..., Figure | None]:
    """A figure of a lab: `drawn(pareto, lab)`."""

    def draw(function, lab):
        with print_style():
            return function(lab.frame(), lab.plan, lab.store)

    return draw
