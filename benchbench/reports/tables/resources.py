"""Resources of one run beside time: the student's size and FLOPs, memory, energy, and a price if there is one."""

from __future__ import annotations

import math

import pandas as pd

from benchbench.hardware.reference_step import DESCRIPTION
from benchbench.planning.model import Plan
from benchbench.reports.footer import reference_steps
from benchbench.reports.groups import Runs, groups_of
from benchbench.reports.summary import finished, hours_text, labels_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import trained_hours
from benchbench.suite.reporting import Factors

JOULES = 3.6e6  # a kilowatt-hour
# Columns of the results, and the table's unit in units of theirs.
SCALES = {"parameters": 1e6, "flops": 1e9, "peak_bytes": 1e9}


def resources(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Parameters, FLOPs, peak memory, energy, money and CO2 of one run, by arm; None before anything is done."""
    if finished(results).empty:
        return None
    factors, labels = plan.suite.factors, labels_of(results, "data", "student")
    rows = [
        [Entry(text) for text in (*(pair if labels else ()), row, *_texts(runs, factors))]
        for pair, group in groups_of(results).items()
        for row, runs in group.rows.items()
    ]
    columns = [*labels, "arm", "parameters (M)", "FLOPs per image (G)", "memory (GB)", "energy (kWh)"]
    columns += [f"price ({factors.currency})"] if factors.price is not None else []
    columns += ["CO2 (g)"] if factors.grams_co2 is not None else []
    title = f"Resources of one run of {plan.suite.name} beside time"
    return Table("resources", title, [*columns, "n"], rows, _notes(finished(results), factors), len(labels) + 1)


def _texts(runs: Runs, factors: Factors) -> list[str]:
    if not runs.n:
        priced = (factors.price is not None) + (factors.grams_co2 is not None)
        return [runs.absent, *["–"] * (4 + priced)]
    measured, energy = energy_of(runs, factors)
    texts = [_text(runs.mean(name) / factor) for name, factor in SCALES.items()]
    texts.append(("" if measured or math.isnan(energy) else "≈ ") + _text(energy))
    if factors.price is not None:
        texts.append(_text(trained_hours(runs) * factors.price))
    if factors.grams_co2 is not None:
        texts.append(_text(energy * factors.grams_co2))
    return [*texts, str(runs.n)]


def energy_of(runs: Runs, factors: Factors) -> tuple[bool, float]:
    """Mean kilowatt-hours of finished cells with their share of the stages that they need.

    Returns:
        Whether they were measured, and the kilowatt-hours: by the suite's watts where they were not, NaN without these.
    """
    joules = runs.mean("energy_joules") + runs.mean("shared_stage_joules")
    if not math.isnan(joules):
        return True, joules / JOULES
    return False, trained_hours(runs) * factors.watts / 1000 if factors.watts is not None else math.nan


def _text(value: float) -> str:
    return "n/a" if math.isnan(value) else hours_text(value)


def _notes(done: pd.DataFrame, factors: Factors) -> list[str]:
    devices = ", ".join(sorted(done.device.dropna().unique()))
    notes = [
        "means over n seeds; FLOPs of one forward pass of the student at the recipe's image size, a multiplication and "
        "an addition counted as two (PyTorch's counter); memory: the peak, allocated on a GPU or resident in the "
        "worker with its libraries, together with cells that trained beside it",
        "energy: own, and its share of what was computed once, by the counter of the board or of the processors on "
        f"{devices}; n/a where none may be read or several workers share one",
    ]
    steps = reference_steps(done)
    notes += [f"a reference step, by which machines can be compared: {steps} ({DESCRIPTION}; median)"] if steps else []
    values = {"price per device-hour": factors.price, "grams of CO2 per kWh": factors.grams_co2}
    texts = [f"{name}: {value:g}" for name, value in values.items() if value is not None]
    if factors.watts is not None:
        texts.append(f"≈: not measured, at {factors.watts:g} W per device")
    if texts:
        notes.append("; ".join(texts) + (f" ({factors.source})" if factors.source else ""))
    return notes
