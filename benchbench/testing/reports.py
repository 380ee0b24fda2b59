"""The contract of a report: results and plan in, one table out, whatever has run and whatever has failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pandas as pd

from benchbench.components import Component
from benchbench.errors import one_line
from benchbench.planning.model import Plan
from benchbench.reports.render import RENDERERS
from benchbench.reports.report import call_report
from benchbench.reports.table import Entry, Table
from benchbench.store import Store
from benchbench.testing.check import Call, Options, require
from benchbench.testing.sample import empty_results, missing_results, sample_plan, sample_results

NOTHING = Store(Path("no-store"))  # the sample's results are invented, without stages


@dataclass(frozen=True)
class ReportCase:
    """A report, and a plan with invented results."""

    component: Component

    def plan(self) -> Plan:
        return _plan()

    def run(self, results: pd.DataFrame) -> Table | None:
        """One call, as `benchbench report` makes it; None where the report has nothing to say."""
        return call_report(self.component.load(), results, self.plan(), NOTHING)


def check_table(case: ReportCase) -> str | None:
    """A table whose rows are as long as its header, of results with a failed and a missing cell."""
    table = case.run(sample_results(case.plan()))
    _require_table(table)
    return None if table is not None else "it has nothing to say of the sample suite (None), so no table was checked"


def check_renders(case: ReportCase) -> None:
    """Every format can draw it."""
    table = case.run(sample_results(case.plan()))
    if table is None:
        return
    for name, render in RENDERERS.items():
        try:
            render(table)
        except Exception as error:
            raise AssertionError(f"it cannot be drawn as {name} ({one_line(error)}): give texts as str") from error


def check_nothing_done(case: ReportCase) -> None:
    """Before anything has run, and without any row, it does not raise."""
    for name, results in (("no cell is done", missing_results(case.plan())), ("there is no cell", empty_results())):
        try:
            table = case.run(results)
        except Exception as error:
            raise AssertionError(f"it raises {one_line(error)} where {name}: give a table without numbers") from error
        _require_table(table)


def check_input(case: ReportCase) -> None:
    """The results stay as they are: the other tables are made of them."""
    results = sample_results(case.plan())
    before = results.copy(deep=True)
    case.run(results)
    same = list(results.columns) == list(before.columns) and results.equals(before)
    require(same, "it changes the results that it is given: work on results.copy()")


def check_determinism(case: ReportCase) -> None:
    """The same results give the same table."""
    first, second = (case.run(sample_results(case.plan())) for _ in range(2))
    require(first == second, "the same results give another table: no clock, no draw, no set in it")


CHECKS: Mapping[str, Callable[[ReportCase], str | None]] = {
    "table": check_table,
    "renders": check_renders,
    "nothing done": check_nothing_done,
    "input": check_input,
    "determinism": check_determinism,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a report, ready to run."""
    case = ReportCase(component)
    return {name: partial(check, case) for name, check in CHECKS.items()}


@cache
def _plan() -> Plan:
    return sample_plan()


def _require_table(table: Table | None) -> None:
    if table is None:
        return
    kind = type(table).__name__
    require(isinstance(table, Table), f"it gives a {kind}: give a benchbench.reports.table.Table")
    named = isinstance(table.name, str) and re.fullmatch(r"[\w-]+", table.name)
    require(named, f"its table is called {table.name!r}, which becomes a file's name: use letters, digits, - and _")
    require(isinstance(table.title, str) and table.title, "its table has no title")
    require(table.columns, "its table has no columns")
    require(0 <= table.labels <= len(table.columns), f"labels is {table.labels}, of {len(table.columns)} columns")
    for number, row in enumerate(table.rows):
        width = f"row {number} has {len(row)} entries, the header {len(table.columns)}"
        require(len(row) == len(table.columns), f"{width}: give one a column")
        wrong = [entry for entry in row if not isinstance(entry, Entry)]
        require(not wrong, f"row {number} holds {str(wrong[:1])[:80]}: wrap every text in Entry(...)")
        unread = [entry.text for entry in row if not isinstance(entry.text, str)]
        require(not unread, f"row {number} holds Entry({unread[:1]}): format numbers into text")
    texts = [*table.columns, *table.notes]
    require(all(isinstance(text, str) for text in texts), "a column's name or a note is no text")
