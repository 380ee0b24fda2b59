"""What a reader wants to know first: the verdicts where they are tested, else the best accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchbench.reports.table import Table
from benchbench.reports.tables.verdicts import TOO_SMALL

# How the verdicts of `benchbench.reports.tables.verdicts` begin, and what they mean for the arm that is judged.
TONES = {
    "surpasses": "good",
    "matches": "even",
    "falls short": "bad",
    "inconclusive": "open",
    TOO_SMALL: "open",
}


def summary(results: pd.DataFrame, tables: Sequence[Table]) -> dict[str, Any]:
    """A page's headline: its `title`, `items`, `counts` of each verdict, and `notes`.

    Items have `label`, `text`, `tone` and `detail`; tone and detail are empty where nothing was tested.
    """
    judged = [table for table in tables if table.name == "verdicts"]
    items = [item for table in judged for item in _verdicts(table)]
    signs = sum(len(table.rows) for table in tables if table.name == "diagnosis")
    notes = [f"Signs of failure: {signs}, in the tables below."] if signs else []
    if items:
        counts = {verdict: sum(item["text"].startswith(verdict) for item in items) for verdict in TONES}
        left = sum(len(table.rows) for table in judged) - len(items)
        if left:
            why = "they or what they are held against have no finished run"
            notes.insert(0, f"Arms without a verdict: {left}, since {why}.")
        return {
            "title": "Verdicts",
            "items": items,
            "counts": {verdict: n for verdict, n in counts.items() if n},
            "notes": [f"{table.title}." for table in judged] + notes,
        }
    items = _accuracies(results)
    if items:
        notes.insert(0, "Means only; whether a difference is more than chance is not tested here.")
    return {"title": "Accuracy in short", "items": items, "counts": {}, "notes": notes}


def tone_of(verdict: str) -> str:
    """What a verdict means for its arm; empty for a text that is none."""
    return next((tone for start, tone in TONES.items() if verdict.startswith(start)), "")


def _verdicts(table: Table) -> list[dict[str, str]]:
    """The column of verdicts, with the labels of each row and the difference that was judged."""
    items = []
    for row in table.rows:
        named = dict(zip(table.columns, (entry.text for entry in row), strict=True))
        verdict, difference = named.get("verdict", ""), named.get("difference", "")
        if tone := tone_of(verdict):
            label = " · ".join(entry.text for entry in row[: table.labels])
            detail = f"{difference} points" if difference else ""
            items.append({"label": label, "text": verdict, "tone": tone, "detail": detail})
    return items


def _accuracies(results: pd.DataFrame) -> list[dict[str, str]]:
    """For each data set and student the best arm, and the best distilled one against pre-train + fine-tune."""
    items = []
    for (data, student), cells in results.groupby(["data", "student"], sort=False):
        done = cells[cells.status == "done"]
        if done.empty:
            continue
        means = done.groupby("row", sort=False).accuracy.mean()
        counts = done.groupby("row", sort=False).size()
        best = means.idxmax()
        text = f"best: {best}, {_percent(means[best])} % (n={counts[best]})"
        distilled = means[means.index.isin(done[done.method == "distill"]["row"])]
        tuned = means[means.index.isin(done[done.method == "finetune"]["row"])]
        if not distilled.empty and not tuned.empty:
            name = distilled.idxmax()
            if name != best:
                text += f"; best distilled: {name}, {_percent(means[name])} % (n={counts[name]})"
            text += f", {100 * (means[name] - tuned.iloc[0]):+.1f} points against {tuned.index[0]}"
        items.append({"label": f"{data}, {student}", "text": text, "tone": "", "detail": ""})
    return items


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
