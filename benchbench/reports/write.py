"""Writing a report: every table in every format, and the long form."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchbench.errors import StoreError, one_line
from benchbench.plan import Plan
from benchbench.reports.results import readable, results_frame
from benchbench.reports.table import RENDERERS, Table
from benchbench.store import Store, write_atomic


def make_tables(plan: Plan, store: Store, command: str) -> tuple[pd.DataFrame, list[Table]]:
    """The results of a plan, and every registered report of them."""
    results = results_frame(plan, store)
    registry = plan.host.registry
    made = f"suite key {plan.key[:16]}; made by: {command}"
    tables = []
    for name in registry.offers["report"]:
        try:
            table = call_report(registry.get("report", name).load(), results, plan, store)
            if table is not None:
                tables.append(replace(table, notes=[*table.notes, made]))
        except Exception as error:  # a plugin's; it must not cost the other tables of a run that took days
            print(f"warning: no table '{name}': {one_line(error)}", file=sys.stderr)
    return results, tables


def call_report(target: Callable[..., Table | None], results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """One report; those that do not ask for the store are not given it."""
    return target(results, plan, store) if "store" in inspect.signature(target).parameters else target(results, plan)


def write_report(
    results: pd.DataFrame, tables: list[Table], folder: Path, formats: tuple[str, ...], command: str
) -> list[Path]:
    """Writes `NAME.FORMAT` for every table, results.csv, and how they were made; gives the paths.

    Raises:
        StoreError: the folder cannot be written.
    """
    texts = {f"{table.name}.{kind}": RENDERERS[kind](table) for table in tables for kind in formats}
    texts["results.csv"] = readable(results).to_csv(index=False, lineterminator="\n")
    texts["COMMAND"] = f"{command}\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomic(folder / name, text.encode())
    except OSError as error:
        raise StoreError(f"cannot write the report to {folder} ({one_line(error)}); use another --report DIR") from None
    return [folder / name for name in texts]
