"""What `benchbench plan` predicts from tuned steps, beside what was measured."""

from __future__ import annotations

import pandas as pd

from benchbench.costs.predict import predicted_cells
from benchbench.plan import Plan
from benchbench.reports.cost import number
from benchbench.reports.summary import finished
from benchbench.reports.table import Entry, Table
from benchbench.store import Store

COLUMNS = ["own, predicted", "own, measured", "ratio", "with stages, predicted", "with stages, measured", "their ratio"]
NOTES = [
    "predicted: images of all epochs × seconds of the tuned training step and of each teacher's tuned forward pass, as "
    "`benchbench plan` gives them before anything is trained; measured: mean over the finished runs of all data sets "
    "and students",
    "losses, augmentation, checkpoints and set-up are in what was measured alone",
]


def predicted(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Device-hours of one run, predicted and measured, by arm; None where nothing was predicted or nothing is done."""
    expected, done = predicted_cells(plan, store), finished(results)
    done = done[[any(expected[key]) for key in done.key]]
    if done.empty:
        return None
    rows = []
    for row in dict.fromkeys(done["row"]):
        cells = done[done["row"] == row]
        own, whole = (
            float(pd.Series([expected[key][part] for key in cells.key], dtype=float).mean(skipna=False))
            for part in (0, 1)
        )
        measured = float(cells.own_hours.mean())
        with_stages = measured + float(cells.shared_stage_hours.mean())
        texts = [row, *_beside(own, measured), *_beside(whole, with_stages)]
        rows.append([Entry(text) for text in texts])
    title = f"Predicted and measured {plan.devices.unit} of one run of {plan.suite.name}"
    return Table("predicted", title, ["arm", *COLUMNS], rows, NOTES)


def _beside(predicted: float, measured: float) -> list[str]:
    return [number(predicted), number(measured), f"{measured / predicted:.2f}" if predicted > 0 else "n/a"]
