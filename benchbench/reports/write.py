"""Files of a report: tables and figures in every format, results as CSV, and the files that LaTeX documents input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchbench.reports import front_page, latex
from benchbench.reports.escape import visible
from benchbench.reports.figure import Figure
from benchbench.reports.figures.save import FORMATS, figure_bytes, gallery
from benchbench.reports.folder import COMMAND, write_folder
from benchbench.reports.macros import macros
from benchbench.reports.render import RENDERERS
from benchbench.reports.report import Report
from benchbench.reports.results import readable


def further_files(report: Report, figures: Sequence[Figure], formats: Sequence[str]) -> dict[str, bytes]:
    """The files of a report beside its tables, by name: figures, their captions, and files for LaTeX documents."""
    kinds = [kind for kind in formats if kind in FORMATS]
    files = {f"{figure.name}.{kind}": figure_bytes(figure, kind) for figure in figures for kind in kinds}
    texts = {}
    origin = report.footer[-1] if report.tables else ""
    if "tex" in formats:
        texts["tables.tex"] = latex.table_inputs([table.name for table in report.tables], origin)
        texts["macros.tex"] = macros(report, origin)
        if figures and "pdf" in formats:
            texts["figures.tex"] = latex.figure_inputs(figures, origin)
    if figures and {"md", "png"} <= set(formats):
        texts["figures.md"] = gallery(figures)
    return files | {name: text.encode() for name, text in texts.items()}


def write_report(
    report: Report, folder: Path, formats: Sequence[str], further: Mapping[str, bytes] | None = None
) -> list[Path]:
    """Writes `NAME.FORMAT` for every table, results.csv, the command, further files, and with "md" the front page.

    Files of an earlier report in the folder are removed.

    Returns:
        The paths of the files.

    Raises:
        StoreError: the folder cannot be written.
    """
    kinds = [kind for kind in formats if kind in RENDERERS]
    texts = {f"{table.name}.{kind}": RENDERERS[kind](table) for table in report.tables for kind in kinds}
    texts["results.csv"] = visible_texts(readable(report.results)).to_csv(index=False, lineterminator="\n")
    texts[COMMAND] = f"{report.command}\n"
    # Paths on a command line need not be UTF-8.
    files = {name: text.encode(errors="surrogateescape") for name, text in texts.items()} | dict(further or {})
    if "md" in formats:
        files = {front_page.NAME: front_page.front_page(report, files).encode(errors="surrogateescape")} | files
    return write_folder(folder, files, report.plan.registry)


def visible_texts(results: pd.DataFrame) -> pd.DataFrame:
    """Results whose texts have no characters that a terminal or an editor would obey; line breaks stay."""
    texts = results.select_dtypes(["object", "string"])
    return results.assign(**{name: texts[name].map(_visible) for name in texts})


def _visible(value: object) -> object:
    return visible(value) if isinstance(value, str) else value
