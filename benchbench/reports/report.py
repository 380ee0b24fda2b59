"""The report of a suite: its results, tables and figures."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from benchbench.errors import one_line
from benchbench.planning.model import Plan
from benchbench.reports.answer import answer
from benchbench.reports.figure import Figure
from benchbench.reports.footer import footer
from benchbench.reports.results import results_frame
from benchbench.reports.table import Table
from benchbench.reports.templates import DEFAULT, template_names
from benchbench.store import Store

# Pairs of data set and student in one figure; as many fill a page, and take half a second each.
PANELS = 12


@dataclass(frozen=True)
class Report:
    """Results and tables of a suite.

    Attributes:
        plan: the suite's plan.
        store: with its stages; only read.
        command: that makes the report.
        template: that chooses tables and figures.
        results: one row per cell, as `results_frame` gives them.
        tables: in the template's order.
    """

    plan: Plan
    store: Store
    command: str
    template: str
    results: pd.DataFrame
    tables: Sequence[Table]

    @cached_property
    def answer(self) -> str:
        """The outcome in one sentence, or one per data set and student."""
        return answer(self.results, self.plan)

    @property
    def footer(self) -> list[str]:
        """Notes at the end of every table and figure."""
        return footer(self.results, self.plan, self.command)


def make_report(plan: Plan, store: Store, command: str, template: str = DEFAULT) -> Report:
    """The results of a plan, and the tables of a template.

    Raises:
        BenchBenchError: there is no such template, or it names what there is not.
    """
    names = template_names(plan.registry, template)
    report = Report(plan, store, command, template, results_frame(plan, store), [])
    tables = [_table(report, name) for name in names if name in plan.registry.offers["report"]]
    return replace(report, tables=[table for table in tables if table is not None])


def _table(report: Report, name: str) -> Table | None:
    try:
        function = report.plan.registry.get("report", name).load()
        table = call_report(function, report.results, report.plan, report.store)
        return None if table is None else replace(table, notes=[*table.notes, *report.footer])
    except Exception as error:  # a plugin's; it must not cost the other tables of a run that took days
        print(f"warning: no table '{name}': {one_line(error)}", file=sys.stderr)
        return None


def call_report(function: Callable[..., Table | None], results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """The table of one report component; the store is passed to those that have it among their parameters."""
    needs_store = "store" in inspect.signature(function).parameters
    return function(results, plan, store) if needs_store else function(results, plan)


def make_figures(report: Report) -> list[Figure]:
    """The figures of a report's template, in its order.

    Raises:
        BenchBenchError: there is no such template, or it names what there is not.
    """
    registry = report.plan.registry
    results, notes = _first_panels(report.results)
    names = [name for name in template_names(registry, report.template) if name in registry.offers["figure"]]
    figures = [_figure(report, name, results) for name in names]
    return [replace(each, notes=[*each.notes, *notes, *report.footer]) for each in figures if each is not None]


def _figure(report: Report, name: str, results: pd.DataFrame) -> Figure | None:
    from benchbench.reports.figures.style import print_style

    try:
        with print_style():
            figure: Figure | None = report.plan.registry.get("figure", name).load()(results, report.plan, report.store)
        return figure
    except Exception as error:  # likewise
        print(f"warning: no figure '{name}': {one_line(error)}", file=sys.stderr)
        return None


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
