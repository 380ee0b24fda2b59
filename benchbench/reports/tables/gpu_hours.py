"""The GPU-hour table (CPU-hours where that is what the runs used)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, Runs, groups_of
from benchbench.reports.summary import trial_notes
from benchbench.reports.table import Entry, Table
from benchbench.suite.schema import PreTraining


def gpu_hours(results: pd.DataFrame, plan: Plan) -> Table:
    """Device-hours of one cell, by arm: its own, with the stages it needs, and with the student's pre-training.

    The reference is the first arm that fine-tunes a pre-trained student: once for training alone, once with the
    pre-training that makes fine-tuning possible.
    """
    done = results[results.status == "done"]
    units = sorted(done.unit.unique())
    unit = units[0] if len(units) == 1 else "device-hours" if units else plan.devices.unit
    several = len(results[["data", "student"]].drop_duplicates()) > 1
    together = bool((done.cohort > 1).any())
    measured = bool((done.pretraining_basis == "measured").any())
    searched = bool(done.trials.notna().any())
    optional = [name for name, shown in (("here_hours", together), ("search_hours", searched)) if shown]
    rows = []
    for group in groups_of(results).values():
        reference = _reference(group)
        for row, runs in group.rows.items():  # an arm may be of some students alone
            label = [Entry(group.data), Entry(group.student), Entry(row)] if several else [Entry(row)]
            rows.append(label + _entries(runs, reference, optional, measured))
    columns = ["data", "student", "arm"] if several else ["arm"]
    labels = len(columns)
    columns += [
        "own",
        *(["here"] if together else []),
        *(["search"] if searched else []),
        "with stages",
        "× fine-tune",
        "pre-training" if measured else "pre-training (est.)",
        "total",
        "× pre-train + fine-tune",
    ]
    return Table("gpu_hours", f"{unit} of one run of {plan.suite.name}", columns, rows, _notes(done, plan), labels)


def _reference(group: Group) -> tuple[float, float]:
    """Mean hours of pre-train + fine-tune: without and with its pre-training."""
    runs = next((group[row] for row in group.rows_by_method("finetune") if group[row].n), None)
    if runs is None:
        return math.nan, math.nan
    hours = trained_hours(runs)
    return hours, hours + runs.mean("pretraining_hours")


def trained_hours(runs: Runs) -> float:
    """Mean device-hours of finished cells, with their share of the stages that they need."""
    return runs.mean("own_hours") + runs.mean("shared_stage_hours")


def _entries(runs: Runs, reference: tuple[float, float], optional: Sequence[str], measured: bool) -> list[Entry]:
    if not runs.n:
        return [Entry(runs.absent), *[Entry("–")] * (5 + len(optional))]
    missing = f", {runs.missing} missing" if runs.missing else ""
    own, pretraining = runs.mean("own_hours"), runs.mean("pretraining_hours")
    spread = f" ± {runs.std('own_hours'):.{_decimals(own)}f}" if runs.n > 1 else ""
    hours = trained_hours(runs)
    texts = [f"{number(own)}{spread} (n={runs.n}{missing})"]
    texts += [number(runs.mean(name)) for name in optional]
    texts += [number(hours), _ratio(hours / reference[0])]
    basis = f" ({runs.basis()})" if measured and runs.basis() else ""
    texts += [number(pretraining) + basis, number(hours + pretraining), _ratio((hours + pretraining) / reference[1])]
    return [Entry(text) for text in texts]


def pretraining_text(recipe: PreTraining) -> str:
    """The facts of a pre-training, for notes."""
    published = f"{recipe.hours:,g} {recipe.hours_on} hours as stated".replace("  ", " ") if recipe.hours else ""
    if recipe.samples is None:
        return f"{published} ({recipe.source})"
    text = f"an estimate: {recipe.images:,} images × {recipe.epochs:g} epochs at {recipe.image_size} px"
    return f"{text} ({recipe.source}), at the throughput measured here" + (f"; {published}" if published else "")


def number(hours: float) -> str:
    """Three significant digits."""
    if math.isnan(hours):
        return "n/a"
    if hours == 0:
        return "0"
    return f"{hours:,.{_decimals(hours)}f}"


def _decimals(hours: float) -> int:
    return max(0, 2 - math.floor(math.log10(abs(hours)))) if hours else 2


def _ratio(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}" if value >= 0.01 else f"{value:.1e}"


def _notes(done: pd.DataFrame, plan: Plan) -> list[str]:
    devices = ", ".join(sorted(done.device.dropna().unique())) or plan.devices.name
    notes = [
        f"device-hours = number of devices × wall-clock on {devices}; own: mean ± standard deviation over n seeds",
        "with stages: plus the teacher's adaptation and everything else that was computed once, divided by the runs of "
        "this suite that share it; a teacher's public pre-training is taken as given and not counted",
    ]
    if (done.cohort > 1).any():
        notes.append(
            "own: as if the run had trained alone; here: as measured, where up to "
            f"{int(done.cohort.max())} runs trained side by side on the same batches behind one teacher"
        )
    if done.trials.notna().any():
        notes.append("search: of the hours with stages, those of the trials that were not chosen, in full for each run")
        notes += trial_notes(plan)
    if (done.pretraining_basis == "measured").any():
        notes.append("pre-training, measured: run by this suite, with all that it needs, in full for each run")
    priced = {cell.student: cell.pretraining for cell in plan.cells if cell.pretraining}
    notes += [f"pre-training of {student}: {pretraining_text(recipe)}" for student, recipe in priced.items()]
    if any(plan.suite.arms[cell.arm].start in plan.suite.arms for cell in plan.cells):
        notes.append("an arm that goes on from another arm has the hours of that one among its stages, in full")
    if done.pretraining_hours.isna().any():
        notes.append(
            "n/a: no recipe of the weights is known (give the student a `pretraining:`), or its calibration is missing"
        )
    return notes
