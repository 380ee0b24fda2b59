"""The contracts of a figure (results, plan and store in, one figure out) and of a template (names in, names out)."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import pandas as pd

from benchbench.components import Component
from benchbench.errors import one_line
from benchbench.planning.model import Plan
from benchbench.reports.figure import DOUBLE, Figure
from benchbench.reports.figures.save import FORMATS, figure_bytes
from benchbench.reports.figures.style import print_style
from benchbench.store import Store
from benchbench.testing.check import Call, Options, require
from benchbench.testing.sample import empty_results, missing_results, sample_plan, sample_results, sample_store

NAMES = ("accuracy", "gpu_hours", "pareto")
DPI = 72  # of the pictures that are compared


@dataclass(frozen=True)
class FigureCase:
    """A figure, and a plan with invented results and records."""

    component: Component

    def run(self, results: Callable[[Plan], pd.DataFrame] = sample_results) -> Figure | None:
        """One call, as `benchbench report` makes it; None where there is nothing to draw."""
        plan, folder = _sample()
        with print_style():
            figure: Figure | None = self.component.load()(results(plan), plan, Store(Path(folder.name)))
        return figure

    @cached_property
    def figure(self) -> Figure | None:
        """The figure of the sample's results, drawn once for all checks."""
        return self.run()

    @cached_property
    def second(self) -> tuple[Figure | None, bool]:
        """The same drawn again; and True if the results are then what they were."""
        results = sample_results(_sample()[0])
        before = results.copy(deep=True)
        figure = self.run(lambda _: results)
        return figure, list(results.columns) == list(before.columns) and results.equals(before)


def check_figure(case: FigureCase) -> str | None:
    """A figure of results with a failed and a missing cell, no wider than a page."""
    figure = case.figure
    _require_figure(figure)
    return None if figure is not None else "it has nothing to draw of the sample suite (None), so none was checked"


def check_saved(case: FigureCase) -> None:
    """It can be saved in every format, and the same results give the same bytes."""
    figures = case.figure, case.second[0]
    for kind in FORMATS:
        try:
            first, second = (figure_bytes(figure, kind, DPI) if figure else b"" for figure in figures)
        except Exception as error:
            raise AssertionError(f"it cannot be saved as {kind} ({one_line(error)})") from error
        require(first == second, f"the same results give another {kind}: no clock, no draw, no set in it")


def check_nothing_done(case: FigureCase) -> None:
    """Before anything has run, and without any row, it does not raise."""
    for what, results in (("no cell is done", missing_results), ("there is no cell", lambda _: empty_results())):
        try:
            figure = case.run(results)
        except Exception as error:
            raise AssertionError(f"it raises {one_line(error)} where {what}: give None") from error
        _require_figure(figure)


def check_input(case: FigureCase) -> None:
    """The results stay as they are: tables and other figures are made of them."""
    _, same = case.second
    require(same, "it changes the results that it is given: work on results.copy()")


def check_pyplot(case: FigureCase) -> None:
    """It leaves pyplot alone, which keeps every figure of a process and asks for a screen."""
    _ = case.figure
    pyplot = sys.modules.get("matplotlib.pyplot")
    require(pyplot is None or not pyplot.get_fignums(), "it draws through pyplot: use matplotlib.figure.Figure")


def check_names(template: Callable[[tuple[str, ...]], object]) -> None:
    """Names that are offered, each once; none where nothing is offered."""
    for offered in (NAMES, ()):
        names = template(offered)
        listed = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        require(listed, f"it gives {names!r}: give a list of names")
        assert isinstance(names, list | tuple)
        unknown = [name for name in names if name not in offered]
        require(not unknown, f"it names {unknown} where that is not offered: take names that are in its argument alone")
        require(len(set(names)) == len(names), f"it gives a name twice: {names}")


CHECKS: Mapping[str, Callable[[FigureCase], str | None]] = {
    "figure": check_figure,
    "saved": check_saved,
    "nothing done": check_nothing_done,
    "input": check_input,
    "pyplot": check_pyplot,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a figure or a template, ready to run."""
    if kind == "template":
        return {"names": partial(check_names, component.load())}
    case = FigureCase(component)
    return {name: partial(check, case) for name, check in CHECKS.items()}


@cache
def _sample() -> tuple[Plan, tempfile.TemporaryDirectory[str]]:
    """The sample's plan, and a folder with its store that is there as long as this process is."""
    plan, folder = sample_plan(), tempfile.TemporaryDirectory()
    sample_store(plan, Path(folder.name))
    return plan, folder


def _require_figure(figure: Figure | None) -> None:
    if figure is None:
        return
    kind = type(figure).__name__
    require(isinstance(figure, Figure), f"it gives a {kind}: give a benchbench.reports.figure.Figure")
    named = isinstance(figure.name, str) and re.fullmatch(r"[\w-]+", figure.name)
    require(named, f"its figure is called {figure.name!r}, which becomes a file's name: use letters, digits, - and _")
    require(isinstance(figure.title, str) and figure.title, "its figure has no title")
    require(all(isinstance(note, str) for note in figure.notes), "a note is no text")
    width = figure.figure.get_figwidth()
    require(width <= DOUBLE, f"it is {width:g} inches wide, more than the {DOUBLE:g} of a page")
