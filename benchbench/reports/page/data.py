"""The content of a page, as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from pydantic import JsonValue

from benchbench import __version__
from benchbench.errors import visible
from benchbench.reports.answer_metrics import metric_words
from benchbench.reports.page.stages import Bounds, StageReader
from benchbench.reports.page.summary import summary, tone_of
from benchbench.reports.page.wrong_images import Sheets, draw_sheets
from benchbench.reports.report import Report
from benchbench.reports.sheet_request import SheetRequest
from benchbench.reports.table import Entry, Table
from benchbench.specs.parts import Json

# Columns of the results by their names in the page; the rest of a cell is in its stage.
_CELL = {
    "row": "row",
    "data": "data",
    "student": "student",
    "teacher": "teacher",
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
# Of the table of classes, the first column whose numbers are shares: they are drawn as bars below the numbers.
BARS_FROM = 2


def page_data(report: Report, live: bool = False, sheets: SheetRequest | None = None) -> Json:
    """The content of a page; the same store gives the same content.

    Args:
        report: results and tables.
        live: whether the page will ask for newer content.
        sheets: of wrong test images, which are read from their data sets; None: none.
    """
    plan, store, tables = report.plan, report.store, report.tables
    # The suite's metric, and cells that lack it as what they are: done.
    results = report.headline.assign(status=report.results.status)
    reader = StageReader(store, Bounds.of(len(plan.stages)), store.live_claims())
    drawn = draw_sheets(report, sheets) if sheets else Sheets()
    stages = {key[:16]: reader.read(stage) | drawn.of(key) for key, stage in plan.stages.items()}
    statuses = {key: stage["status"] for key, stage in stages.items()}
    first = [table for table in tables if table.name == "verdicts"]
    measure = metric_words(plan.suite.metric)
    data: Json = {
        "suite": plan.suite.name,
        "key": plan.key[:16],
        "version": __version__,
        "command": report.command,
        "devices": sorted(results.device.dropna().unique()),
        "live": live,
        "active": bool(reader.live),
        "answer": report.answer,
        "measure": measure,
        "summary": asdict(summary(results, tables, measure)),
        "tables": [_table(table) for table in [*first, *(table for table in tables if table.name != "verdicts")]],
        "cells": [_cell(row, statuses) for row in results.to_dict("records")],
        "stages": dict(stages),
        "pool": reader.pool.values,
        "left_out": [*_left_out(reader), *drawn.sentences],
        "pictures": drawn.pictures,
    }
    return {name: _shown(value) for name, value in data.items()}


def _shown(value: JsonValue) -> JsonValue:
    """JSON whose texts have escapes for what a browser would obey and not show."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): _shown(part) for name, part in value.items()}
    return [_shown(part) for part in value] if isinstance(value, list) else value


def _table(table: Table) -> Json:
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
        **({"bars": BARS_FROM} if table.name == "classes" else {}),
    }


def _entry(entry: Entry, verdict: bool) -> Json:
    """An entry without what it lacks."""
    tone = tone_of(entry.text) if verdict else ""
    return {"text": entry.text, **({"bold": True} if entry.bold else {}), **({"tone": tone} if tone else {})}


def _cell(row: Mapping[str, Any], statuses: Mapping[str, JsonValue]) -> Json:
    """One cell without its empty columns; `stage` leads to its stage."""
    cell = {name: row[column] for name, column in _CELL.items() if not pd.isna(row[column])}
    if "reason" in cell:  # without the path of its own log, which the page holds: equal failures then read alike
        cell["reason"] = re.sub(r" \(traceback in \S.*log\.txt\)$", "", cell["reason"])
    cell["stage"] = row["key"][:16]
    status = statuses[cell["stage"]]
    if cell["status"] == "missing" and status in ("running", "interrupted"):
        cell["status"] = status
    return cell


def _left_out(reader: StageReader) -> list[JsonValue]:
    """Sentences on logs and curves that are not complete."""
    sentences: list[JsonValue] = []
    if reader.cut_logs:
        sentences.append(f"Of {reader.cut_logs} logs only the last {reader.bounds.log:,} bytes are here.")
    if reader.thinned:
        sentences.append(f"Of {reader.thinned} curves about {reader.bounds.points} evenly spaced epochs each are here.")
    if sentences:
        sentences.append("The store has all of them: log.txt and curve.jsonl in the folder of each stage.")
    return sentences
