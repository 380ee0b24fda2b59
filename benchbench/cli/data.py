"""The command `data`: what the data sets of a suite hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbench import api
from benchbench.cli.options import data_option, file_type, json_option, plugin_option, set_option, suite_type
from benchbench.errors import BenchBenchError, printable

if TYPE_CHECKING:
    from benchbench.data.survey import Copies, ImageFinding, Survey

MOST_CLASSES, MOST_LISTED = 30, 5
PROBLEMS = 1  # exit code


@click.command()
@click.argument("suite", type=suite_type)
@click.option(
    "--sheet",
    type=file_type,
    metavar="FILE",
    help="Write a few images of each class, with their masks or boxes, into a PNG.",
)
@click.option("--decode", is_flag=True, help="Decode every image, however many there are.")
@click.option("--all", "show_all", is_flag=True, help="Print every class, every unreadable file and every copy.")
@data_option
@set_option
@plugin_option
@json_option
def data(suite: Path, sheet: Path | None, decode: bool, show_all: bool, as_json: bool, **others: Any) -> None:
    """Show what the data sets of SUITE hold: classes, sizes, copies, and images that cannot be read.

    Images are counted by class and part, those of a segmentation by each class that they show, and of a detection the
    boxes. Copies are found within and across the parts: by decoded pixels, of large sets by the bytes of files unless
    `--decode` is given. Published sets are not downloaded for it: their sizes are shown. Exit code 0: nothing is to be
    done; 1: images cannot be read, test images are among those to train on, or copies have different labels, masks or
    boxes; 2: bad input.

    \b
    Examples:
      benchbench data quickstart
      benchbench data leaves.yaml --sheet leaves.png
      benchbench data leaves.yaml --decode --json
    """
    from benchbench.planning.data_sets import survey_suite
    from benchbench.plugins import load_suite_plugins

    if sheet is not None:
        _check_sheet(sheet)
    file = api.load_suite(suite, others["overrides"])
    registry = load_suite_plugins(file, others["plugins"]).registry
    surveys = survey_suite(file, registry, others["data"], decode)
    if as_json:
        click.echo(json.dumps({label: _as_json(each) for label, each in surveys.items()}, indent=1))
    else:
        click.echo("\n\n".join("\n".join(_lines(label, each, show_all)) for label, each in surveys.items()))
    if sheet is not None:
        from benchbench.data.contact_sheet import write_contact_sheet

        write_contact_sheet(surveys, sheet)
        click.echo(f"written: {sheet}", err=True)
    sys.exit(PROBLEMS if any(_has_problems(each) for each in surveys.values()) else 0)


def _check_sheet(path: Path) -> None:
    from benchbench.data.contact_sheet import KINDS

    if path.suffix.lower() not in KINDS:
        raise BenchBenchError(f"--sheet {path}: give a file that ends in {', '.join(KINDS)}")
    if not path.parent.is_dir():
        raise BenchBenchError(f"--sheet {path}: there is no folder {path.parent}")


def _has_problems(survey: Survey) -> bool:
    return bool(survey.unreadable) or any(_is_leak(each) or each.contradict for each in survey.copies)


def _is_leak(copies: Copies) -> bool:
    """True for copies of test images among those that a network is trained on or chosen by."""
    return "test" in copies.parts and len(copies.parts) > 1


def _lines(label: str, survey: Survey, show_all: bool) -> Iterator[str]:
    info = survey.info
    held_out = f", {info.validation:,} to validate on" if info.validation else ""
    kind = {"segmentation": " of pixels", "detection": " of boxes"}.get(info.task, "")
    classes = f"{info.classes:,} class{'es' * (info.classes > 1)}{kind}, " if info.labelled else "no labels, "
    counts = f"{classes}{info.train:,} images to train on{held_out}, {info.test:,} to test on"
    yield f"{printable(label)} ({survey.source}): {counts}"
    if survey.compared is None:
        yield "  a published set: its images are not looked at"
    else:
        yield from _class_lines(survey, show_all)
        yield from _size_lines(survey)
    yield from (f"  note: {printable(note)}" for note in info.note.split("; ") if note)
    most = sys.maxsize if show_all else MOST_LISTED
    yield from _listed("cannot be read", [each.problem for each in survey.unreadable], most)
    if survey.compared is not None:
        yield from _copy_lines(survey, most)


def _class_lines(survey: Survey, show_all: bool) -> Iterator[str]:
    if not survey.info.labelled or not survey.counts:
        return
    from benchbench.data.survey import PARTS

    parts = [part for part in PARTS if any(each[part] for each in survey.counts.values())]
    rows = [(printable(name), [f"{counts[part]:,}" for part in parts]) for name, counts in survey.counts.items()]
    shown = rows if show_all else rows[:MOST_CLASSES]
    title = {"segmentation": "images with", "detection": "boxes of"}.get(survey.info.task, "class")
    width = max(len(title), *(len(name) for name, _ in shown))
    for name, cells in [(title, [*map(str, parts)]), *shown]:
        yield f"  {name:<{width}}" + "".join(f"  {cell:>10}" for cell in cells)
    if len(shown) < len(rows):
        yield f"  ... and {len(rows) - len(shown):,} more classes (--all)"


def _size_lines(survey: Survey) -> Iterator[str]:
    sizes = sorted({each.size for each in survey.images if each.size is not None}, key=lambda size: size[0] * size[1])
    if not sizes:
        return
    if len(sizes) == 1:
        yield f"  size: {_size(sizes[0])}"
        return
    every = sorted((each.size for each in survey.images if each.size is not None), key=lambda size: size[0] * size[1])
    yield (
        f"  sizes: {_size(sizes[0])} to {_size(sizes[-1])}, median {_size(every[len(every) // 2])}; "
        f"{len(sizes):,} different ones"
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _copy_lines(survey: Survey, most: int) -> Iterator[str]:
    by = "their pixels" if survey.compared == "pixels" else "the bytes of their files (--decode compares pixels)"
    copies = survey.copies
    if not copies:
        yield f"  no image is there twice, by {by}"
        return
    yield f"  compared by {by}:"
    leaks = [each for each in copies if _is_leak(each)]
    yield from _listed("test images that are also trained on or chosen by", map(_names, leaks), most)
    others = [each for each in copies if each not in leaks and len(each.parts) > 1]
    yield from _listed("images both to train and to validate on", map(_names, others), most)
    for part in ("train", "validation", "test"):
        within = [each for each in copies if each.parts == (part,)]
        yield from _listed(f"images that are there several times in {part}", map(_names, within), most)
    contradictions = [each for each in copies if each.contradict]
    kind = {"segmentation": "masks", "detection": "sets of boxes"}.get(survey.info.task, "labels")
    yield from _listed(f"images with several {kind}", map(_names, contradictions), most)


def _names(copies: Copies) -> str:
    labels = [f", {printable(each.label)}" if each.label else "" for each in copies.images]
    named = [f"{printable(each.name)} [{each.part}{label}]" for each, label in zip(copies.images, labels, strict=True)]
    return " = ".join(named[:6])


def _listed(title: str, items: Any, most: int) -> Iterator[str]:
    items = list(items)
    if items:
        yield f"  {title}: {len(items):,}"
        yield from (f"    {printable(item)}" for item in items[:most])
        if len(items) > most:
            yield f"    ... and {len(items) - most:,} more (--all)"


def _as_json(survey: Survey) -> dict[str, Any]:
    info = survey.info
    return {
        "source": survey.source,
        "task": info.task,
        "train": info.train,
        "validation": info.validation,
        "test": info.test,
        "classes": [{"name": name, **counts} for name, counts in survey.counts.items()] if info.labelled else [],
        "note": info.note,
        "sizes": _json_sizes(survey.images),
        "unreadable": [{**_json_image(each), "problem": each.problem} for each in survey.unreadable],
        "compared": survey.compared,
        "copies": [[_json_image(each) for each in group.images] for group in survey.copies],
    }


def _json_sizes(images: Sequence[ImageFinding]) -> list[dict[str, int]]:
    """Every size with the number of images that have it."""
    counts: dict[tuple[int, int], int] = {}
    for image in images:
        if image.size is not None:
            counts[image.size] = counts.get(image.size, 0) + 1
    return [{"width": size[0], "height": size[1], "images": count} for size, count in sorted(counts.items())]


def _json_image(image: ImageFinding) -> Mapping[str, str]:
    return {"name": printable(image.name), "part": image.part, "label": image.label}
