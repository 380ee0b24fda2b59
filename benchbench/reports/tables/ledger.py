"""The ledger: every device-hour of a suite's runs on a line, beside what was measured in all."""

from __future__ import annotations

import pandas as pd

from benchbench.costs.ledger import Spent, spent
from benchbench.plan.model import KINDS, Plan
from benchbench.reports.summary import hours_text
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.resources import JOULES
from benchbench.store import Store

# What a section of a stage's record is called here, in the order of a stage's life.
SECTIONS = {
    "loading": "reading images and weights",
    "setup": "set-up",
    "tuning": "choosing how networks run",
    "calibration": "measuring throughput",
    "compile": "compiling",
    "data": "images and augmentation",
    "teacher": "frozen networks' forward pass",
    "preparation": "first stage of two-stage losses",
    "student": "training steps",
    "generation": "generating images",
    "features": "features of images",
    "measures": "measures of quality",
    "evaluation": "evaluation",
    "checkpoint": "checkpoints and weights",
    "record": "writing records",
}
STAGES = {
    "diffusion": "generators",
    "synthesis": "generated images",
    "teacher": "teachers",
    "outputs": "kept outputs",
    "cell": "cells",
}
MEASURING = ("tuning", "calibration")
ENERGY = (
    "energy: by the counters of boards or processors; by kind of stage where a worker had one for itself, in all from "
    "the runs' beginning to their end"
)


def ledger(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Device-hours of all runs of the suite in this store, by what they went to and by kind of stage."""
    account = spent(store, plan.suite.name, plan.stages)
    if not account.total:
        return None
    kinds = [kind for kind in KINDS if any(of == kind for of, _ in account.sections)]
    columns = list(dict.fromkeys(_column(kind) for kind in kinds))
    named = [name for name in SECTIONS if any(section == name for _, section in account.sections)]
    named += sorted({section for _, section in account.sections} - set(named))
    rows = []
    for section in named:
        by_column = dict.fromkeys(columns, 0.0)
        for kind in kinds:
            by_column[_column(kind)] += account.sections.get((kind, section), 0.0)
        rows.append(_line(SECTIONS.get(section, section), list(by_column.values()), sum(by_column.values()), account))
    apart = {
        "starting workers": account.start,
        "failed attempts": account.failed,
        "killed, and not gone on with": account.killed,
        "stages that the suite no longer has": account.removed,
        "idle": account.idle,
    }
    blank = [0.0] * len(columns)
    rows += [_line(name, blank, hours, account) for name, hours in apart.items() if hours or name == "failed attempts"]
    lines = sum(account.sections.values()) + sum(apart.values())
    rows.append(_line("sum of the lines", blank, lines, account))
    rows.append(_line("measured", blank, account.total, account))
    if account.joules is not None:
        rows.append(_energy(columns, account))
    devices = ", ".join(sorted(account.devices))
    unit = next(iter(account.units)) if len(account.units) == 1 else "device-hours"
    runs = f"{account.runs} runs" if account.runs > 1 else "one run"
    return Table(
        "ledger",
        f"{unit} of {runs} of {plan.suite.name}, by what they went to",
        ["line", *columns, "total", "share (%)"],
        rows,
        [
            f"measured: slots × devices held by each × wall-clock of the runs, on {devices}; "
            f"the lines leave out {_percent(account.residual, account.total)} % of it",
            "stages that other suites, or runs before ledgers were kept, had finished are not in it",
            ENERGY if account.joules is not None else "energy: not measured; no counter that may be read",
        ],
    )


def _energy(columns: list[str], account: Spent) -> list[Entry]:
    """Kilowatt-hours of finished stages by column, where they were measured, and of the runs."""
    parts = []
    for column in columns:
        of = [joules for kind, joules in account.stage_joules.items() if _column(kind) == column]
        parts.append("n/a" if None in of else hours_text(sum(joules or 0.0 for joules in of) / JOULES))
    return [Entry(text) for text in ("energy (kWh)", *parts, hours_text((account.joules or 0.0) / JOULES), "")]


def _column(kind: str) -> str:
    return "measuring" if kind in MEASURING else STAGES.get(kind, kind)


def _line(name: str, parts: list[float], total: float, account: Spent) -> list[Entry]:
    texts = [name, *(hours_text(part) if part else "" for part in parts), hours_text(total)]
    return [Entry(text) for text in (*texts, _percent(total, account.total))]


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}"
