"""The ledger: every device-hour of a suite's runs in one line, beside the measured total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from benchbench.costs.estimate import MEASURING
from benchbench.costs.ledger_summary import LedgerSummary, summarize_ledger
from benchbench.planning.model import KINDS, Plan
from benchbench.reports.summary import hours_text
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.resources import JOULES
from benchbench.store import Store

# Lines by section of a stage's record, in the order of a stage's life.
SECTIONS = {
    "loading": "reading images and weights",
    "setup": "set-up",
    "tuning": "tuning of networks",
    "calibration": "measuring throughput",
    "compile": "compiling",
    "data": "images and augmentation",
    "teacher": "frozen networks' forward pass",
    "preparation": "first stage of two-stage losses",
    "gradients": "measuring gradients of losses",
    "student": "training steps",
    "generation": "generating images",
    "features": "features of images",
    "measures": "measures of quality",
    "evaluation": "evaluation",
    "checkpoint": "checkpoints and weights",
    "similarity": "likeness of students and teachers",
    "record": "writing records",
}
STAGES = {
    "diffusion": "generators",
    "synthesis": "generated images",
    "pretraining": "pre-trainings",
    "teacher": "teachers",
    "outputs": "cached outputs",
    "trial": "trials",
    "cell": "cells",
}
QUEUE = "queue (h)"
ENERGY = (
    "energy: by the counters of boards or processors; by kind of stage where a worker had one for itself, in all from "
    "the runs' beginning to their end"
)


def ledger(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Device-hours of all runs of the suite in this store, by section of their time and by kind of stage."""
    summary = summarize_ledger(store, plan.suite.name, plan.stages)
    if not summary.total:
        return None
    columns = list(dict.fromkeys(_column(kind) for kind in KINDS if any(of == kind for of, _ in summary.sections)))
    sections, others = _section_lines(summary), _other_lines(summary)
    total = sum(sum(line.parts.values()) for line in sections) + sum(line.total for line in others)
    lines = [*sections, *others, _Line("sum of the lines", total), _Line("measured", summary.total)]
    rows = [line.entries(columns, summary.total) for line in lines]
    queue = [QUEUE] if summary.queue else []
    if summary.joules is not None:
        rows.append(_energy_entries(columns, summary.joules, summary))
    unit = next(iter(summary.units)) if len(summary.units) == 1 else "device-hours"
    runs = f"{summary.runs} runs" if summary.runs > 1 else "one run"
    title = f"{unit} of {runs} of {plan.suite.name}, by section"
    for row in rows if queue else []:
        row.append(Entry(hours_text(summary.queue) if row[0].text == "measured" else ""))
    return Table("ledger", title, ["line", *columns, "total", "share (%)", *queue], rows, _notes(summary))


@dataclass(frozen=True)
class _Line:
    """One line of the table.

    Attributes:
        name: in its first column.
        total: device-hours.
        parts: device-hours by column; none where no kind of stage is charged with it.
    """

    name: str
    total: float
    parts: Mapping[str, float] = field(default_factory=dict)

    def entries(self, columns: Sequence[str], measured: float) -> list[Entry]:
        parts = [hours_text(hours) if (hours := self.parts.get(column)) else "" for column in columns]
        return [Entry(text) for text in (self.name, *parts, hours_text(self.total), _percent(self.total, measured))]


def _section_lines(summary: LedgerSummary) -> list[_Line]:
    """Lines of finished stages: sections in the order of `SECTIONS`, then others by name."""
    sections = {section for _, section in summary.sections}
    lines = []
    for section in [*(name for name in SECTIONS if name in sections), *sorted(sections - SECTIONS.keys())]:
        parts: dict[str, float] = {}
        for kind in KINDS:
            hours = summary.sections.get((kind, section), 0.0)
            parts[_column(kind)] = parts.get(_column(kind), 0.0) + hours
        lines.append(_Line(SECTIONS.get(section, section), sum(parts.values()), parts))
    return lines


def _other_lines(summary: LedgerSummary) -> list[_Line]:
    """Lines of the time that no finished stage of the suite is charged with."""
    lines = [
        _Line("starting workers", summary.start),
        _Line("failed attempts", summary.failed),
        _Line("killed attempts, without the work that was continued", summary.killed),
        _Line("stages that the suite no longer has", summary.removed),
        _Line("idle", summary.idle),
    ]
    return [line for line in lines if line.total or line.name == "failed attempts"]


def _energy_entries(columns: Sequence[str], joules: float, summary: LedgerSummary) -> list[Entry]:
    """Kilowatt-hours of finished stages by column, where they were measured, and of the runs."""
    texts = []
    for column in columns:
        parts = [part for kind, part in summary.stage_joules.items() if _column(kind) == column]
        known = [part for part in parts if part is not None]
        texts.append(hours_text(sum(known) / JOULES) if len(known) == len(parts) else "n/a")
    return [Entry(text) for text in ("energy (kWh)", *texts, hours_text(joules / JOULES), "")]


def _notes(summary: LedgerSummary) -> list[str]:
    devices, residual = ", ".join(sorted(summary.devices)), _percent(summary.residual, summary.total)
    return [
        f"measured: slots × devices of each × wall-clock of the runs, on {devices}; "
        f"the lines leave out {residual} % of it",
        "stages that other suites had finished, or runs without a ledger, are not in it",
        *([f"{QUEUE}: time that jobs waited for their devices, which is charged to nobody"] if summary.queue else []),
        ENERGY if summary.joules is not None else "energy: not measured; no counter that may be read",
    ]


def _column(kind: str) -> str:
    return "measuring" if kind in MEASURING else STAGES.get(kind, kind)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}"
