"""Accuracy against hours, for a page or a slide: `python -m benchbench.reports.figures RESULTS.csv PATH`."""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import replace
from pathlib import Path

import click

from benchbench.errors import BenchBenchError, one_line
from benchbench.reports.compare_inputs import results_table
from benchbench.reports.figure import THEMES
from benchbench.reports.figures.pareto import pareto_figure
from benchbench.reports.figures.save import figure_bytes
from benchbench.reports.figures.style import print_style
from benchbench.store import write_atomic

DPI = 400  # a column's width is 1,300 pixels


@click.command()
@click.argument("results", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("path", type=click.Path(path_type=Path))
def main(results: Path, path: Path) -> None:
    """Draw accuracy against hours from the results.csv of a report, as PATH-light.png and PATH-dark.png.

    The name of the suite is that of the folder of RESULTS.

    \b
    Example:
      python -m benchbench.reports.figures reports/quickstart/results.csv docs/images/quickstart
    """
    try:
        for file, content in pictures(results, path).items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, content)
            click.echo(f"written: {file}")
    except (BenchBenchError, OSError) as error:
        click.echo(f"error: {one_line(error)}", err=True)
        sys.exit(2)


def pictures(results: Path, path: Path) -> dict[Path, bytes]:
    """The files of all themes; their descriptions name the digest of the results.

    Raises:
        BenchBenchError: the results cannot be read, or none is done.
    """
    try:
        content = results.read_bytes()
        frame = results_table(io.BytesIO(content))
        files = {}
        for theme in THEMES:
            with print_style(theme):
                figure = pareto_figure(frame, results.absolute().parent.name)
            if figure is None:
                raise BenchBenchError(f"{results} has no finished cell")
            notes = [*figure.notes, f"results: sha256 {hashlib.sha256(content).hexdigest()}"]
            file = path.with_name(f"{path.name}-{theme}.png")
            files[file] = figure_bytes(replace(figure, notes=notes, theme=theme), "png", DPI)
    except (OSError, ValueError, AttributeError, KeyError) as error:  # pandas' parser errors are ValueErrors
        raise BenchBenchError(f"{results} cannot be read as the results.csv of a report ({one_line(error)})") from None
    return files


if __name__ == "__main__":
    main()
