"""The cells of a plan as a frame."""

from __future__ import annotations

import pandas as pd

from benchbench.costs.prediction import predicted_cells
from benchbench.reports.plan_overview import PlanOverview
from benchbench.reports.results import grid_position

COLUMNS = (
    "arm",
    "row",
    "method",
    "data",
    "student",
    "teacher",
    "adapt",
    "seed",
    "state",
    "own_hours",
    "hours",
    "key",
)


def cells_frame(shown: PlanOverview) -> pd.DataFrame:
    """One row per cell: place in the grid, state, predicted device-hours (NaN where unknown), key of its stage."""
    hours = predicted_cells(shown.plan, shown.hours)
    rows = []
    for cell in shown.plan.cells:
        own, whole = hours[cell.stage]
        state = shown.states[cell.stage].name
        rows.append({**grid_position(shown.plan, cell), "state": state, "own_hours": own, "hours": whole})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"own_hours": float, "hours": float})
