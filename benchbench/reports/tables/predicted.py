"""What stages were predicted to take before they began, beside what was measured."""

from __future__ import annotations

import pandas as pd

from benchbench.costs.estimate import MEASURING
from benchbench.costs.ledger import predictions
from benchbench.costs.prediction import Predictor, predicted_cells
from benchbench.plan.model import Plan
from benchbench.reports.summary import finished
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import number
from benchbench.store import Store

COLUMNS = ["own, predicted", "own, measured", "ratio", "with stages, predicted", "with stages, measured", "their ratio"]
NOTES = [
    "predicted: as it stood when the run began, from finished stages of the same work or else from tuned steps; where "
    "nothing had been measured by then, as it stood when the stage began; means over the finished runs of all data "
    "sets and students",
    "losses, augmentation, checkpoints and set-up are no part of what tuned steps predict; that of tuning itself is in "
    "what was measured with stages alone",
]
LATER = "no prediction was kept of {} of these stages: theirs are from tuned steps, as they would have been"


def predicted(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Device-hours of one run, predicted and measured, by arm; None where nothing was predicted or nothing is done.

    Predictions are those that `benchbench run` kept before the stages began, so that no stage predicts itself.
    """
    hours, later = _predictions(plan, store)
    expected, done = predicted_cells(plan, hours), finished(results)
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
    used = later & {each for key in done.key for each in (key, *plan.foundations(key))}
    notes = [*NOTES, LATER.format(len(used))] if used else NOTES
    return Table("predicted", title, ["arm", *COLUMNS], rows, notes)


def _predictions(plan: Plan, store: Store) -> tuple[dict[str, float | None], set[str]]:
    """Predicted hours of the plan's stages, and the keys of those that were not kept at the time."""
    kept, predictor = predictions(store), Predictor(plan, store, experience=False)
    hours: dict[str, float | None] = {}
    later = set()
    for key, stage in plan.stages.items():
        if stage.kind in MEASURING:
            continue
        hours[key] = kept[key] if key in kept else predictor.hours(key)
        if key not in kept and hours[key] is not None:
            later.add(key)
    return hours, later


def _beside(predicted: float, measured: float) -> list[str]:
    return [number(predicted), number(measured), f"{measured / predicted:.2f}" if predicted > 0 else "n/a"]
