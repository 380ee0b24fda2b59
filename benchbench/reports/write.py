"""Writing a report: its tables and pictures in every format, and the long form."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchbench.errors import StoreError, one_line
from benchbench.plan.model import Plan
from benchbench.reports import latex
from benchbench.reports.figure import Picture
from benchbench.reports.figures.save import FORMATS, gallery, saved
from benchbench.reports.footer import provenance
from benchbench.reports.macros import macros
from benchbench.reports.render import RENDERERS
from benchbench.reports.results import readable, results_frame
from benchbench.reports.table import Table
from benchbench.reports.templates import DEFAULT, chosen
from benchbench.store import Store, write_atomic

# Data sets x students that one picture shows.
PANELS = 12


def make_tables(plan: Plan, store: Store, command: str, template: str = DEFAULT) -> tuple[pd.DataFrame, list[Table]]:
    """The results of a plan, and the tables of a template in its order.

    Raises:
        BenchBenchError: there is no such template, or it names what there is not.
    """
    registry = plan.host.registry
    names = [name for name in chosen(registry, template) if name in registry.offers["report"]]
    results = results_frame(plan, store)
    made = provenance(results, plan, command)
    tables = []
    for name in names:
        try:
            table = call_report(registry.get("report", name).load(), results, plan, store)
            if table is not None:
                tables.append(replace(table, notes=[*table.notes, *made]))
        except Exception as error:  # a plugin's; it must not cost the other tables of a run that took days
            print(f"warning: no table '{name}': {one_line(error)}", file=sys.stderr)
    return results, tables


def call_report(target: Callable[..., Table | None], results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """One report; those that do not ask for the store are not given it."""
    return target(results, plan, store) if "store" in inspect.signature(target).parameters else target(results, plan)


def make_pictures(
    results: pd.DataFrame, plan: Plan, store: Store, command: str, template: str = DEFAULT
) -> list[Picture]:
    """The pictures of a template in its order, of results that `make_tables` gave.

    Raises:
        BenchBenchError: there is no such template, or it names what there is not.
    """
    from benchbench.reports.figures.style import print_style

    registry = plan.host.registry
    made = provenance(results, plan, command)
    results, cut = _that_fit(results)
    pictures = []
    for name in chosen(registry, template):
        if name not in registry.offers["figure"]:
            continue
        try:
            with print_style():
                picture: Picture | None = registry.get("figure", name).load()(results, plan, store)
            if picture is not None:
                pictures.append(replace(picture, notes=[*picture.notes, *cut, *made]))
        except Exception as error:
            print(f"warning: no picture '{name}': {one_line(error)}", file=sys.stderr)
    return pictures


def _that_fit(results: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """What of the results a picture shows that has a panel for each data set and student; and what to say of the rest.

    `PANELS` fill a page, and take half a second each.
    """
    pairs = list(dict.fromkeys(zip(results["data"].tolist(), results["student"].tolist(), strict=True)))
    if len(pairs) <= PANELS:
        return results, []
    first = set(pairs[:PANELS])
    chosen = [pair in first for pair in zip(results["data"].tolist(), results["student"].tolist(), strict=True)]
    rest = "the tables have the others, and `--set data=...` or `--set students=...` picks"
    return results[chosen], [f"drawn: the first {PANELS} of {len(pairs)} pairs of data set and student; {rest}"]


def further_files(
    results: pd.DataFrame, plan: Plan, tables: Sequence[Table], pictures: Sequence[Picture], formats: Sequence[str]
) -> dict[str, bytes]:
    """What a report has beside its tables, by file name: pictures, their captions, and what LaTeX documents input."""
    files = {
        f"{picture.name}.{kind}": saved(picture, kind) for picture in pictures for kind in formats if kind in FORMATS
    }
    texts = {}
    # Every table ends with the line that says what made it.
    about = next((table.notes[-1] for table in tables), "")
    if "tex" in formats:
        texts["tables.tex"] = latex.inputs([table.name for table in tables], about)
        texts["macros.tex"] = macros(results, plan, about)
        if pictures and "pdf" in formats:
            texts["figures.tex"] = latex.figures(pictures, about)
    if pictures and {"md", "png"} <= set(formats):
        texts["figures.md"] = gallery(pictures)
    return files | {name: text.encode() for name, text in texts.items()}


def write_report(
    results: pd.DataFrame,
    tables: Sequence[Table],
    folder: Path,
    formats: Sequence[str],
    command: str,
    further: Mapping[str, bytes] | None = None,
) -> list[Path]:
    """Writes `NAME.FORMAT` for every table, results.csv, how they were made, and further files; gives the paths.

    Raises:
        StoreError: the folder cannot be written.
    """
    kinds = [kind for kind in formats if kind in RENDERERS]
    texts = {f"{table.name}.{kind}": RENDERERS[kind](table) for table in tables for kind in kinds}
    texts["results.csv"] = readable(results).to_csv(index=False, lineterminator="\n")
    texts["COMMAND"] = f"{command}\n"
    files = {name: text.encode() for name, text in texts.items()} | dict(further or {})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomic(folder / name, content)
    except OSError as error:
        raise StoreError(f"cannot write the report to {folder} ({one_line(error)}); use another --report DIR") from None
    return [folder / name for name in files]
