"""What a reader wants to know first: the verdicts where they are tested, else the best accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchbench.reports.table import Table

# How the verdicts of the statistics begin, and what they mean for the arm that is judged.
TONES = {"surpasses": "good", "matches": "good", "falls short": "bad", "inconclusive": "open", "n too small": "open"}


def summary(results: pd.DataFrame, tables: Sequence[Table]) -> dict[str, Any]:
    """A page's headline: `items` of `label`, `text` and `tone` (empty where nothing was tested)."""
    items = [item for table in tables if table.name == "verdicts" for item in _verdicts(table)]
    if items:
        return {"title": "Verdicts", "items": items, "note": ""}
    items = _accuracies(results)
    note = "Means only; whether a difference is more than chance is not tested here." if items else ""
    return {"title": "Accuracy in short", "items": items, "note": note}


def _verdicts(table: Table) -> list[dict[str, str]]:
    """Every entry of the table that is a verdict, with the labels of its row (and its column, if a row has several)."""
    items = []
    for row in table.rows:
        labels = [entry.text for entry in row[: table.labels]]
        found = [
            (column, entry.text, start)
            for column, entry in zip(table.columns, row, strict=True)
            for start in TONES
            if entry.text.lower().startswith(start)
        ]
        for column, text, start in found:
            label = " · ".join([*labels, column] if len(found) > 1 else labels)
            items.append({"label": label, "text": text, "tone": TONES[start], "verdict": start})
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
        items.append({"label": f"{data}, {student}", "text": text, "tone": ""})
    return items


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
