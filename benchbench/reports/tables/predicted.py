"""Device-hours of stages as predicted before they began, beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchbench.costs.estimate import MEASURING
from benchbench.costs.ledger_summary import predictions
from benchbench.costs.prediction import CellHours, Predictor, predicted_cells
from benchbench.planning.model import Plan
from benchbench.reports.summary import finished
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import number
from benchbench.store import Store

COLUMNS = ["own, predicted", "own, measured", "ratio", "with stages, predicted", "with stages, measured", "their ratio"]
NOTES = [
    "predicted: when the run began, from finished stages of the same work or else from tuned steps; where nothing had "
    "been measured by then, when the stage began; means over the finished runs of all data sets and students",
    "predictions from tuned steps leave out losses, augmentation, checkpoints and set-up; tuning itself is in the "
    "measured hours with stages alone",
]
LATER = "no prediction was stored for {} of these stages: theirs are made now, from tuned steps"


def predicted(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Device-hours of one run, predicted and measured, by arm; None where nothing was predicted or nothing is done.

    Predictions are those that `benchbench run` stored before the stages began, so that no stage predicts itself.
    """
    hours, later = _predictions(plan, store)
    expected, done = predicted_cells(plan, hours), finished(results)
    done = done[[any(expected[key]) for key in done.key]]
    if done.empty:
        return None
    rows = []
    for row, cells in done.groupby("row", sort=False):
        texts = [str(row), *_texts(cells, [expected[key] for key in cells.key])]
        rows.append([Entry(text) for text in texts])
    title = f"Predicted and measured {plan.devices.unit} of one run of {plan.suite.name}"
    dependencies = {each for key in done.key for each in (key, *plan.dependencies(key))}
    notes = [*NOTES, LATER.format(len(later & dependencies))] if later & dependencies else NOTES
    return Table("predicted", title, ["arm", *COLUMNS], rows, notes)


def _texts(cells: pd.DataFrame, expected: Sequence[CellHours]) -> list[str]:
    frame = pd.DataFrame(expected, dtype=float)
    own, whole = (float(frame[name].mean(skipna=False)) for name in CellHours._fields)
    measured = float(cells.own_hours.mean())
    with_stages = measured + float(cells.shared_stage_hours.mean())
    return [*_beside(own, measured), *_beside(whole, with_stages)]


def _predictions(plan: Plan, store: Store) -> tuple[dict[str, float | None], set[str]]:
    """Predicted hours of the plan's stages, and the keys of those for which none had been stored."""
    stored, predictor = predictions(store), Predictor(plan, store, use_history=False)
    keys = [key for key, stage in plan.stages.items() if stage.kind not in MEASURING]
    hours = {key: stored[key] if key in stored else predictor.hours(key) for key in keys}
    return hours, {key for key in keys if key not in stored and hours[key] is not None}


def _beside(predicted: float, measured: float) -> list[str]:
    return [number(predicted), number(measured), f"{measured / predicted:.2f}" if predicted > 0 else "n/a"]
