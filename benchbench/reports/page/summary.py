"""The headline of a page: the verdicts where they are tested, else the best accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchbench.reports.groups import goes_on
from benchbench.reports.table import Table
from benchbench.reports.tables.verdicts import TOO_SMALL

# Beginnings of the verdicts of `benchbench.reports.tables.verdicts`, and their meaning for the arm.
TONES = {
    "surpasses": "good",
    "matches": "even",
    "falls short": "bad",
    "inconclusive": "open",
    TOO_SMALL: "open",
}


@dataclass(frozen=True)
class Item:
    """One line of the headline; tone and detail are empty where no test was made."""

    label: str
    text: str
    tone: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Summary:
    """A page's headline; `counts` are of each verdict."""

    title: str
    items: list[Item]
    counts: dict[str, int]
    notes: list[str]


def summary(results: pd.DataFrame, tables: Sequence[Table], measure: str = "accuracy") -> Summary:
    """The headline of results with the suite's metric in the column `accuracy`; `measure` is its name in words."""
    verdict_tables = [table for table in tables if table.name == "verdicts"]
    items = [item for table in verdict_tables for item in _verdicts(table)]
    signs = sum(len(table.rows) for table in tables if table.name == "diagnosis")
    notes = [f"Signs of failure: {signs}, in the tables below."] if signs else []
    if not items:
        items = _accuracies(results)
        if items:
            notes.insert(0, "Means only; whether a difference is more than chance is not tested here.")
        return Summary(f"Test {measure} in short", items, {}, notes)
    untested = sum(len(table.rows) for table in verdict_tables) - len(items)
    if untested:
        reason = "they or the arms they are compared with have no finished run"
        notes.insert(0, f"Arms without a verdict: {untested}, since {reason}.")
    counts = {verdict: sum(item.text.startswith(verdict) for item in items) for verdict in TONES}
    titles = [f"{table.title}." for table in verdict_tables]
    return Summary("Verdicts", items, {verdict: n for verdict, n in counts.items() if n}, [*titles, *notes])


def tone_of(verdict: str) -> str:
    """The meaning of a verdict for its arm; empty for other texts."""
    return next((tone for start, tone in TONES.items() if verdict.startswith(start)), "")


def _verdicts(table: Table) -> list[Item]:
    """The column of verdicts, with the labels of each row and the difference that was tested."""
    items = []
    for row in table.rows:
        texts = dict(zip(table.columns, (entry.text for entry in row), strict=True))
        verdict, difference = texts.get("verdict", ""), texts.get("difference", "")
        if tone := tone_of(verdict):
            label = " · ".join(entry.text for entry in row[: table.labels])
            detail = f"{difference} points" if difference else ""
            items.append(Item(label, verdict, tone, detail))
    return items


def _accuracies(results: pd.DataFrame) -> list[Item]:
    """For each data set and student the best arm, and the best distilled one against pre-train + fine-tune."""
    items = []
    for (data, student), cells in results.groupby(["data", "student"], sort=False):
        # A finished cell may lack the suite's metric.
        done = cells[(cells.status == "done") & cells.accuracy.notna()]
        if done.empty:
            continue
        means = done.groupby("row", sort=False).accuracy.mean()
        counts = done.groupby("row", sort=False).size()
        best = means.idxmax()
        text = f"best: {best}, {_percent(means[best])} % (n={counts[best]})"
        distilled = means[means.index.isin(done[done.method == "distill"]["row"])]
        tuned = means[means.index.isin(done[(done.method == "finetune") & ~goes_on(done)]["row"])]
        if not distilled.empty and not tuned.empty:
            name = distilled.idxmax()
            if name != best:
                text += f"; best distilled: {name}, {_percent(means[name])} % (n={counts[name]})"
            text += f", {100 * (means[name] - tuned.iloc[0]):+.1f} points against {tuned.index[0]}"
        items.append(Item(f"{data}, {student}", text))
    return items


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
