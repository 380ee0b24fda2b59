"""The command `docs`: pages of the documentation, in short and with their addresses."""

from __future__ import annotations

import re
import textwrap
from itertools import groupby
from pathlib import Path

import click

from benchbench.cli.pages import Section, documentation, plain_text, search, sections
from benchbench.errors import (
    BenchBenchError,
    DataError,
    ExportError,
    PluginError,
    StoreError,
    SuiteError,
    WeightsError,
)

# The page on what went wrong, by the class of the error, and by the kind of a name that nothing has.
ERROR_PAGES: dict[type[BenchBenchError], str] = {
    SuiteError: "suite",
    PluginError: "plugins",
    StoreError: "store",
    DataError: "own-data",
    WeightsError: "own-checkpoints",
    ExportError: "export",
}
NAME_PAGES = {
    "loss": "reference/losses",
    "dataset": "datasets",
    "teacher": "reference/models",
    "student": "reference/models",
    "augmenter": "reference/augmenters",
    "executor": "reference/executors",
    "template": "templates",
}
MOST_LINES = 16  # of a text that is printed
MOST_OTHERS = 6  # further sections that are named


@click.command()
@click.argument("words", metavar="[WORD]...", nargs=-1)
def docs(words: tuple[str, ...]) -> None:
    """Print where a subject is documented, and the beginning of the text.

    WORD is a page, a heading, or the name of a command, a loss or another component. Without one, all pages are listed.

    \b
    Examples:
      benchbench docs
      benchbench docs suite
      benchbench docs kd
    """
    folder = documentation()
    known = sections(folder)
    if not words:
        click.echo(_contents(folder, known))
        return
    best, *others = search(" ".join(words), known)
    click.echo(f"{best.address}\n\n{_short(best)}")
    below = [each.title for each in known if each.page == best.page and each.level == 2]
    if best.level == 1 and below:
        click.echo(f"\nIts sections: {_listed(below)}")
    if others:
        addresses = [f"{each.page}#{each.title}" if each.level > 1 else each.page for each in others]
        click.echo(f"\nSee also: {_listed(addresses)}")


def page_of(error: BenchBenchError) -> str:
    """A remark for the end of an error's line that names the page on it; empty where there is none."""
    unknown = re.search(rf"\bunknown ({'|'.join(NAME_PAGES)}) '", str(error))
    pages = [page for kind, page in ERROR_PAGES.items() if isinstance(error, kind)]
    page = NAME_PAGES[unknown[1]] if unknown else next(iter(pages), "")
    return f" (see `benchbench docs {page}`)" if page else ""


def _contents(folder: Path, known: list[Section]) -> str:
    """All pages, each with the first sentence of its text."""
    lines = [f"{folder}"]
    for name, group in groupby(known, key=lambda each: each.page.rpartition("/")[0]):
        pages = [each for each in group if each.level == 1]
        lines += ["", f"{name or 'Start'}:" if pages else ""]
        lines += [f"  {each.page.rpartition('/')[2]:<20} {_first_sentence(each)}" for each in pages]
    return "\n".join([*lines, "", "benchbench docs WORD prints a page, a section, a command or a component in short."])


def _first_sentence(section: Section) -> str:
    paragraph = " ".join(plain_text(section.text).split("\n\n")[0].split()) or section.title
    return textwrap.shorten(re.split(r"(?<=[.;?]) ", paragraph, maxsplit=1)[0], 90, placeholder=" ...")


def _short(section: Section) -> str:
    """The title and the beginning of the text, cut between two lines."""
    lines = plain_text(section.text).splitlines()
    rest = len(lines) - MOST_LINES
    more = [f"... ({rest} more lines)"] if rest > 0 else []
    return "\n".join([section.title, "", *lines[:MOST_LINES], *more]).rstrip()


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - MOST_OTHERS} more" if len(names) > MOST_OTHERS else ""
    return ", ".join(names[:MOST_OTHERS]) + more
