"""Everything that a page shows, as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchbench import __version__
from benchbench.plan.model import Plan
from benchbench.reports.page.stages import Bounds, StageReader
from benchbench.reports.page.summary import summary, tone_of
from benchbench.reports.table import Entry, Table
from benchbench.store import Store

# What a cell tells by itself; the rest is in its stage.
_CELL = {
    "row": "row",
    "data": "data",
    "student": "student",
    "seed": "seed",
    "status": "status",
    "reason": "reason",
    "accuracy": "accuracy",
    "validation": "validation_accuracy",
    "unit": "unit",
    "own": "own_hours",
    "shared": "shared_stage_hours",
    "pretraining": "pretraining_hours",
}


def page_data(
    plan: Plan, store: Store, results: pd.DataFrame, tables: Sequence[Table], command: str, live: bool = False
) -> dict[str, Any]:
    """The content of a page; the same store gives the same content.

    Args:
        plan: the suite's plan.
        store: where its results are; only read.
        results: a row a cell, as `results_frame` gives it.
        tables: the tables of the report, in order.
        command: what makes the report.
        live: whether the page will ask for newer content.
    """
    reader = StageReader(plan, store, Bounds.of(len(plan.stages)), store.in_use())
    stages = {stage.key[:16]: reader.read(stage) for stage in plan.stages.values()}
    first = [table for table in tables if table.name == "verdicts"]
    return {
        "suite": plan.suite.name,
        "key": plan.key[:16],
        "version": __version__,
        "command": command,
        "devices": sorted(results.device.dropna().unique()),
        "live": live,
        "active": reader.active,
        "summary": summary(results, tables),
        "tables": [_table(table) for table in [*first, *(table for table in tables if table.name != "verdicts")]],
        "cells": [_cell(row, stages) for row in results.to_dict("records")],
        "stages": stages,
        "pool": reader.pool.values,
        "left_out": _left_out(reader),
    }


def _table(table: Table) -> dict[str, Any]:
    judged = table.name == "verdicts"
    return {
        "name": table.name,
        "title": table.title,
        "columns": list(table.columns),
        "rows": [
            [_entry(entry, judged and column == "verdict") for column, entry in zip(table.columns, row, strict=True)]
            for row in table.rows
        ],
        "notes": list(table.notes),
        "labels": table.labels,
    }


def _entry(entry: Entry, verdict: bool) -> dict[str, Any]:
    """An entry without what it lacks."""
    tone = tone_of(entry.text) if verdict else ""
    return {"text": entry.text, **({"bold": True} if entry.bold else {}), **({"tone": tone} if tone else {})}


def _cell(row: dict[str, Any], stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One cell without what is not known of it; `stage` leads to its stage."""
    cell = {name: row[column] for name, column in _CELL.items() if not pd.isna(row[column])}
    if "reason" in cell:  # without the path of its own log, which the page holds: equal failures then read alike
        cell["reason"] = re.sub(r" \(traceback in \S.*log\.txt\)$", "", cell["reason"])
    cell["stage"] = row["key"][:16]
    state = stages[cell["stage"]]["status"]
    if cell["status"] == "missing" and state in ("running", "interrupted"):
        cell["status"] = state
    return cell


def _left_out(reader: StageReader) -> list[str]:
    """What the page does not show, in words."""
    said = []
    if reader.cut_logs:
        said.append(f"Of {reader.cut_logs} logs only the last {reader.bounds.log:,} bytes are here.")
    if reader.thinned:
        said.append(f"Of {reader.thinned} curves about {reader.bounds.points} evenly spaced epochs each are here.")
    if said:
        said.append("The store has all of them: log.txt and curve.jsonl in the folder of each stage.")
    return said
