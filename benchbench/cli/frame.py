"""`benchbench results`: the results of a suite as one long table, printed or written for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchbench import api
from benchbench.cli.options import SuiteOptions, chooses_cells, file_type, names_of, reads_suite
from benchbench.errors import printable

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@chooses_cells
@reads_suite
@click.option("--output", type=file_type, help="Write it to FILE: .csv, .parquet or .json.  [default: it is printed]")
@click.option(
    "--columns",
    metavar="NAMES",
    callback=names_of,
    help="Names with commas between them, or `all`; see `benchbench docs results`.  [default: those that fit a "
    "terminal; of a file, all]",
)
def results(options: SuiteOptions, output: Path | None, columns: tuple[str, ...]) -> None:
    """Print or write every cell of SUITE, one row each, from what is in the store.

    \b
    Examples:
      benchbench results quickstart
      benchbench results cifar --only arm=KD --columns row,seed,accuracy,own_hours
      benchbench results cifar --output cifar.parquet
    """
    from benchbench.reports.long_frame import BRIEF, format_of, json_text, long_frame, write_frame

    if output is not None:
        format_of(output)  # before the work
    experiment = options.plan()
    cells = {cell.stage for cell in experiment.chosen().plan.cells}
    frame = api.load_results(experiment)
    brief = () if output is not None or options.as_json else BRIEF
    frame = long_frame(frame[frame.key.isin(cells)], columns or brief)
    if output is not None:
        write_frame(frame, output)
        click.echo(f"written to {output}: {len(frame)} cells, {len(frame.columns)} columns", err=True)
    if options.as_json:
        click.echo(json_text(frame))
    elif output is None:
        _print(frame)


def _print(frame: pd.DataFrame) -> None:
    from tabulate import tabulate

    texts = [
        [_text(value, name) for name, value in zip(frame, row, strict=True)] for row in frame.itertuples(index=False)
    ]
    sides = ["left" if str(kind) == "string" else "right" for kind in frame.dtypes]
    click.echo(tabulate(texts, list(frame), tablefmt="simple", colalign=sides, disable_numparse=True))


def _text(value: object, column: str) -> str:
    import pandas as pd

    if pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = printable(str(value))
    return text[:16] if column == "key" else text
