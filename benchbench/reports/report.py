"""The report of a suite: its results, tables and figures."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.answer import answer
from benchbench.reports.figure import LIGHT, Figure
from benchbench.reports.footer import footer
from benchbench.reports.headline import (
    PLAIN,
    headline_notes,
    headline_results,
    renamed_answer,
    renamed_figure,
    renamed_table,
)
from benchbench.reports.lazy import LazyMapping
from benchbench.reports.results import results_frame
from benchbench.reports.table import Table
from benchbench.reports.templates import DEFAULT, template_names
from benchbench.store import Store

# Pairs of data set and student in one figure; as many fill a page, and take half a second each.
PANELS = 12


@dataclass(frozen=True)
class Report:
    """Results, tables and figures of a suite; tables and figures are made when they are needed.

    Attributes:
        plan: the suite's plan.
        store: with its stages; only read.
        command: that makes the report.
        template: that chooses tables and figures.
        results: one row per cell, as `results_frame` gives them.
        theme: of the figures.
    """

    plan: Plan
    store: Store
    command: str
    template: str
    results: pd.DataFrame
    theme: str = LIGHT

    @cached_property
    def headline(self) -> pd.DataFrame:
        """The results with the suite's metric in the column `accuracy`."""
        return headline_results(self.results, self.plan)

    def results_for(self, name: str) -> pd.DataFrame:
        """The results as a table or a figure takes them, by its name."""
        return self.results if name in PLAIN else self.headline

    @cached_property
    def answer(self) -> str:
        """The outcome in one sentence, or one per data set and student."""
        text = answer(self.headline, self.plan)
        return renamed_answer(text, self.plan)

    @property
    def footer(self) -> list[str]:
        """Notes at the end of every table and figure."""
        return [*headline_notes(self.results, self.plan), *footer(self.results, self.plan, self.command)]

    @cached_property
    def table_by_name(self) -> LazyMapping[Table]:
        """Tables in the template's order."""
        return LazyMapping("table", self._names("report"), functools.partial(_table, self))

    @cached_property
    def figure_by_name(self) -> LazyMapping[Figure]:
        """Figures in the template's order."""
        return LazyMapping("figure", self._names("figure"), functools.partial(_figure, self))

    @property
    def tables(self) -> Sequence[Table]:
        """All tables that have something to show."""
        return list(self.table_by_name.values())

    @property
    def figures(self) -> Sequence[Figure]:
        """All figures that have something to show."""
        return list(self.figure_by_name.values())

    def _names(self, kind: str) -> list[str]:
        registry = self.plan.registry
        return [name for name in template_names(registry, self.template) if name in registry.offers[kind]]


def make_report(plan: Plan, store: Store, command: str, template: str = DEFAULT) -> Report:
    """The results of a plan, for the tables and figures of a template.

    Raises:
        BenchBenchError: there is no such template, or it names what there is not.
    """
    template_names(plan.registry, template)
    return Report(plan, store, command, template, results_frame(plan, store))


def _table(report: Report, name: str) -> Table | None:
    function = report.plan.registry.get("report", name).load()
    table = call_report(function, report.results_for(name), report.plan, report.store)
    if table is None:
        return None
    named = table if name in PLAIN else renamed_table(table, report.plan)
    return replace(named, notes=[*named.notes, *report.footer])


def call_report(function: Callable[..., Table | None], results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """The table of one report component; the store is passed to those that have it among their parameters."""
    needs_store = "store" in inspect.signature(function).parameters
    return function(results, plan, store) if needs_store else function(results, plan)


def _figure(report: Report, name: str) -> Figure | None:
    from benchbench.reports.figures.style import print_style

    results, notes = _first_panels(report.results_for(name))
    with print_style(report.theme):
        figure: Figure | None = report.plan.registry.get("figure", name).load()(results, report.plan, report.store)
    if figure is None:
        return None
    named = figure if name in PLAIN else renamed_figure(figure, report.plan)
    return replace(named, notes=[*named.notes, *notes, *report.footer], theme=report.theme)


def _first_panels(results: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Results of the data sets and students that fit into one figure, with a note on the others."""
    positions = list(zip(results["data"].tolist(), results["student"].tolist(), strict=True))
    pairs = list(dict.fromkeys(positions))
    if len(pairs) <= PANELS:
        return results, []
    first = set(pairs[:PANELS])
    hint = "the tables have the others, and `--set data=...` or `--set students=...` picks"
    note = f"drawn: the first {PANELS} of {len(pairs)} pairs of data set and student; {hint}"
    return results[[pair in first for pair in positions]], [note]
