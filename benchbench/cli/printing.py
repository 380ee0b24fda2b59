"""A report on a terminal: the answer, two tables, what failed, and where the rest is."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchbench.errors import one_line, printable

if TYPE_CHECKING:
    from benchbench.experiment import Experiment
    from benchbench.reports.report import Report
    from benchbench.reports.table import Table

ALL = "all"
# Tables that are printed where none is asked for, and the columns of them that fit a terminal; none: all.
BRIEF: dict[str, Sequence[str]] = {
    "accuracy": (),
    "gpu_hours": ("own", "with stages", "pre-training", "pre-training (est.)", "total"),
}
BRIEF_NOTE = "±: standard deviation over n seeds; with stages: plus a share of what was computed once; est.: estimated"


def print_report(finished: Report, run_command: str, tables: Sequence[str] = ()) -> None:
    """The answer, the tables, one line per reason of failure, and the number of cells that are missing.

    Args:
        finished: the report.
        run_command: that runs the missing cells.
        tables: names of tables, or "all": these with their notes; none: the accuracy and the hours, in brief.
    """
    from benchbench.reports.footer import reference_steps
    from benchbench.reports.render import plain

    _print_text(finished.answer)
    click.echo()
    chosen = [table for table in finished.tables if table.name in tables or ALL in tables]
    for table in chosen if tables else _brief(finished.tables):
        click.echo(plain(table, color=sys.stdout.isatty()).rstrip("\n") + "\n")
    if not tables and finished.tables:
        click.echo(BRIEF_NOTE)
        if steps := reference_steps(finished.results):
            click.echo(f"speed of the machine: one reference step takes {steps}")
        click.echo(f"all {len(finished.tables)} tables, with their notes: {printable(finished.command)} --tables all")
    for name in tables:
        if name != ALL and all(table.name != name for table in chosen):
            click.echo(f"table '{name}' has nothing to show here")
    _print_unfinished(finished, run_command)


def print_written(finished: Report, folder: Path, paths: Sequence[Path]) -> None:
    """Prints to standard error, in short, which files were written to a folder."""
    if not paths:  # a page alone may have been asked for
        if not (finished.results.status == "done").any():
            click.echo("no cell is done, so no tables are written", err=True)
        return
    names = {table.name for table in finished.tables}
    tables = [path for path in paths if path.stem in names and path.suffix not in (".png", ".pdf")]
    figures = [path for path in paths if path.suffix in (".png", ".pdf")]
    others = [path.name for path in paths if path not in tables and path not in figures]
    counted = [_counted("table", tables), _counted("figure", figures)]
    # The page that starts with the answer comes first.
    parts = [*sorted(others, key=lambda name: name != "README.md")[:1], *filter(None, counted)]
    rest = [name for name in others if name not in parts]
    click.echo(f"written to {folder}: {', '.join([*parts, *rest])}", err=True)


def print_places(experiment: Experiment) -> None:
    """Print the places of a run's stages and numbers, two lines to standard error."""
    store = printable(str(experiment.store.root))
    results, watch = (printable(experiment.command(name)) for name in ("results", "watch"))
    click.echo(
        f"stages in {store}: KIND/KEY/ has weights, curve and log.txt; keys and all numbers: {results}", err=True
    )
    click.echo(f"as a page with every curve and log: {watch}", err=True)


def json_of(reports: Mapping[str, Report]) -> str:
    """The answer of each suite by its name, and every row of their results with the suite's name."""
    from benchbench.reports.results import readable

    tables = {name: json.loads(readable(each.results).to_json(orient="records")) for name, each in reports.items()}
    cells = [{"suite": name, **row} for name, table in tables.items() for row in table]
    return json.dumps({"answers": {name: each.answer for name, each in reports.items()}, "cells": cells}, indent=1)


def _print_text(text: str) -> None:
    """A text in lines as wide as the terminal; in one line elsewhere."""
    text = printable(text)
    click.echo(textwrap.fill(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def _brief(tables: Sequence[Table]) -> list[Table]:
    """The tables of `BRIEF` without notes and further columns; of a template without them, its first two."""
    known = [table for table in tables if table.name in BRIEF] or tables[:2]
    return [replace(_columns(table, BRIEF.get(table.name, ())), notes=[]) for table in known]


def _columns(table: Table, names: Sequence[str]) -> Table:
    """A table with its labels and some of its other columns; with all where none is named."""
    chosen = [index for index, name in enumerate(table.columns) if index < table.labels or name in names or not names]
    rows = [[row[index] for index in chosen] for row in table.rows]
    return replace(table, columns=[table.columns[index] for index in chosen], rows=rows)


def _print_unfinished(finished: Report, run_command: str) -> None:
    results = finished.results
    for reason, cells in results[results.status == "failed"].groupby("reason", sort=False, dropna=False):
        labels = [
            printable(f"{cell.row} | {cell.data} | {cell.student} | seed {cell.seed}") for cell in cells.itertuples()
        ]
        more = f" (and {len(labels) - 1} more cells)" if len(labels) > 1 else ""
        click.echo(f"failed: {labels[0]}{more}: {one_line(str(reason))}")
    if missing := int((results.status == "missing").sum()):
        click.echo(f"{missing} of {len(results)} cells have not been run; {printable(run_command)}")


def _counted(noun: str, paths: Sequence[Path]) -> str:
    """A number of tables or figures with their formats: "11 tables (md, tex)"."""
    count = len({path.stem for path in paths})
    kinds = dict.fromkeys(path.suffix[1:] for path in paths)
    return f"{count} {noun}{'s' if count > 1 else ''} ({', '.join(kinds)})" if paths else ""
