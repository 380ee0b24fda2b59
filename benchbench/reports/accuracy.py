"""The accuracy table."""

from __future__ import annotations

import pandas as pd

from benchbench.plan import Plan
from benchbench.reports.table import Entry, Table


def accuracy(results: pd.DataFrame, plan: Plan) -> Table:
    """Mean test accuracy with its standard deviation over seeds (ddof = 1) and n; the best mean of a column is bold."""
    groups = {(data, student): frame for (data, student), frame in results.groupby(["data", "student"], sort=False)}
    best = {key: max(_means(frame), default=None) for key, frame in groups.items()}
    rows = []
    for row in dict.fromkeys(results["row"]):
        entries = [Entry(row)]
        for key, frame in groups.items():
            cells = frame[frame["row"] == row]
            entries.append(_entry(cells, best[key]))
        rows.append(entries)
    columns = ["arm", *(f"{data}, {student}" for data, student in groups)]
    return Table("accuracy", f"Test accuracy (%) of {plan.suite.name}", columns, rows, _notes(results, plan))


def _means(frame: pd.DataFrame) -> list[str]:
    done = frame[frame.status == "done"]
    return [_percent(cells.accuracy) for _, cells in done.groupby("row")]


def _percent(accuracy: pd.Series) -> str:
    """A mean as the table shows it; padded, so that texts compare as numbers do."""
    return f"{100 * accuracy.mean():5.1f}"


def _entry(cells: pd.DataFrame, best: str | None) -> Entry:
    done = cells[cells.status == "done"]
    lost = len(cells) - len(done)
    if done.empty:
        return Entry("failed" if (cells.status == "failed").any() else "–")
    mean = _percent(done.accuracy)
    spread = f" ± {100 * done.accuracy.std(ddof=1):.1f}" if len(done) > 1 else ""
    missing = f", {lost} missing" if lost else ""
    return Entry(f"{mean.strip()}{spread} (n={len(done)}{missing})", bold=mean == best)


def _notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    done = results[results.status == "done"]
    selection = plan.suite.selection
    chosen = (
        "the last epoch"
        if selection.rule == "last"
        else f"best epoch on a validation split of {selection.validation:.0%}"
    )
    notes = [f"mean ± standard deviation over n seeds; tested: {chosen}; the test split is read once a cell"]
    if not done.empty:
        sizes = done.drop_duplicates("data")[["data", "train_images", "test_images"]]
        shown = "; ".join(
            f"{r.data}: {r.train_images:.0f} training, {r.test_images:.0f} test images" for r in sizes.itertuples()
        )
        notes.append(shown)
        taught = done.dropna(subset="teacher_accuracy").drop_duplicates(["data", "teacher", "adapt"])
        if not taught.empty:
            each = [f"{r.teacher} ({r.adapt}) on {r.data} {100 * r.teacher_accuracy:.1f}" for r in taught.itertuples()]
            notes.append(f"teachers: {'; '.join(each)}")
    return notes
