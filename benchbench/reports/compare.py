"""Two suites, or two versions of one: what changed, by how much, and whether it is more than chance."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from html import escape

import numpy as np
import pandas as pd
from pydantic import JsonValue

from benchbench.reports.compare_inputs import Side
from benchbench.reports.table import Entry, Table
from benchbench.specs.parts import Json, contents_only
from benchbench.specs.stages import StageSpec
from benchbench.statistics.estimate import paired as estimate_paired
from benchbench.statistics.estimate import welch
from benchbench.statistics.noninferiority import holm

LEVEL = 0.05
# Of two values the t distribution has one degree of freedom, and its 5 % point is 12.7 standard errors.
LEAST = 3
PLACE = ("row", "data", "student")
# Values of both sides by part of a spec.
Changes = dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Difference:
    """One row of the tables, for one data set and student, on both sides.

    Attributes:
        row, data, student: where it stands.
        mean_a, mean_b: mean test accuracy over seeds, 0..1.
        n_a, n_b: seeds that are done.
        difference: mean_b - mean_a.
        low, high: its 95 % interval by the t distribution; None with one seed on a side.
        test: "paired" by seed where both sides have the same seeds, else "Welch".
        p: two-sided p-value; None where it cannot be had.
        p_holm: the same, corrected for the number of rows tested.
        verdict: "yes" or "no" (p_holm < 5 %), "n too small to test", "no spread to test against", or "identical".
        hours_ratio: mean own device-hours of B over A's; None unless both ran on one kind of device.
    """

    row: str
    data: str
    student: str
    mean_a: float
    mean_b: float
    n_a: int
    n_b: int
    difference: float
    low: float | None
    high: float | None
    test: str
    p: float | None
    p_holm: float | None
    verdict: str
    hours_ratio: float | None


@dataclass(frozen=True)
class CellPosition:
    """Position of a cell in the grid."""

    row: str
    data: str
    student: str
    seed: int


@dataclass(frozen=True)
class SpecChange:
    """A part of the specs that differs between the sides.

    Attributes:
        what: the part, as in "recipe.epochs" or "teacher0: recipe.epochs".
        a, b: its values; None where a side does not have it.
        cells: number of cells in which it differs.
    """

    what: str
    a: str | None
    b: str | None
    cells: int


@dataclass(frozen=True, repr=False)
class RunComparison:
    """Result of `compare`; shows itself as its tables.

    Attributes:
        a, b: names of the sides.
        only_a, only_b: cells of one side alone.
        shared: number of cells on both sides.
        changes: parts of the specs of shared cells that differ.
        unknown: number of shared cells whose keys differ and whose spec is not known on both sides.
        differences: of accuracy, or what takes its place, one per row.
        measure: what they are of, in words.
    """

    a: str
    b: str
    only_a: list[CellPosition]
    only_b: list[CellPosition]
    shared: int
    changes: list[SpecChange]
    unknown: int
    differences: list[Difference]
    measure: str = "accuracy"

    def as_json(self) -> Json:
        return asdict(self)

    @property
    def tables(self) -> dict[str, Table]:
        """Cells of one side alone, changed specs, and accuracies, by name; those that are not empty."""
        return {table.name: table for table in tables(self)}

    def __repr__(self) -> str:
        return "\n\n".join([*map(repr, tables(self)), summary(self)])

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in tables(self)) + f"<p>{escape(summary(self))}</p>"


def compare(a: Side, b: Side) -> RunComparison:
    """Compares two sides cell by cell; equal row, data set, student and seed make the same cell."""
    keys_a, keys_b = _keys(a.frame), _keys(b.frame)
    shared = [cell for cell in keys_a if cell in keys_b]
    changes = [_changes(a, b, keys_a[cell], keys_b[cell]) for cell in shared]
    counts = Counter((what, *values) for each in changes if each is not None for what, values in each.items())
    return RunComparison(
        a=a.name,
        b=b.name,
        only_a=[cell for cell in keys_a if cell not in keys_b],
        only_b=[cell for cell in keys_b if cell not in keys_a],
        shared=len(shared),
        changes=[SpecChange(*change, count) for change, count in counts.items()],
        unknown=changes.count(None),
        differences=_differences(a.frame, b.frame),
        measure=_measure(a.frame, b.frame),
    )


def _measure(*frames: pd.DataFrame) -> str:
    """The measure in the column `accuracy`: a segmentation's cells have mIoU too, and a detection's mAP."""
    found = {name for frame in frames for name in ("miou", "map") if name in frame and frame[name].notna().any()}
    return {"miou": "mIoU", "map": "mAP"}[found.pop()] if len(found) == 1 else "accuracy"


def _keys(frame: pd.DataFrame) -> dict[CellPosition, str]:
    """Keys of stages by position of the cell."""
    columns = (frame[name] for name in (*PLACE, "seed", "key"))
    rows = zip(*columns, strict=True)
    return {CellPosition(row, data, student, int(seed)): str(key) for row, data, student, seed, key in rows}


def _changes(a: Side, b: Side, key_a: str, key_b: str) -> Changes | None:
    """Differences between two stages, and between the stages that they need; None where a spec is not known."""
    if key_a == key_b:
        return {}
    spec_a, spec_b = a.specs.get(key_a), b.specs.get(key_b)
    if spec_a is None or spec_b is None:
        return None
    parts_a, parts_b = _parts(spec_a), _parts(spec_b)
    pairs = {what: (parts_a.get(what), parts_b.get(what)) for what in dict.fromkeys([*parts_a, *parts_b])}
    changes = {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}
    for role, needed_a in spec_a.needs.items():
        if role in spec_b.needs:
            needed_b = spec_b.needs[role]
            below = _changes(a, b, needed_a, needed_b)
            below = {"stage": (needed_a[:16], needed_b[:16])} if below is None else below
            changes |= {f"{role}: {what}": pair for what, pair in below.items()}
    return changes


def _parts(spec: StageSpec) -> dict[str, str]:
    """A spec as {"recipe.epochs": "12"}, without the keys of the stages that it needs."""
    parts: dict[str, str] = {}
    _add_parts(parts, "", contents_only(spec.as_json() | {"needs": {}}))
    return parts


def _add_parts(parts: dict[str, str], name: str, value: JsonValue) -> None:
    items = _by_name(value) if isinstance(value, list) and value else value
    if isinstance(items, dict):
        for key, item in items.items():
            _add_parts(parts, f"{name}.{key}" if name else key, item)
    else:
        parts[name] = _value_text(items)


def _by_name(items: list[JsonValue]) -> JsonValue:
    """A list of objects as an object: by their names where these differ, else by their indices."""
    objects = [item for item in items if isinstance(item, dict)]
    if len(objects) < len(items):
        return items
    names = [str(item.get("name", index)) for index, item in enumerate(objects)]
    keys = names if len(set(names)) == len(names) else map(str, range(len(names)))
    return dict(zip(keys, items, strict=True))


def _value_text(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text  # a hash says only that there is a difference


def _differences(a: pd.DataFrame, b: pd.DataFrame) -> list[Difference]:
    groups_a, groups_b = (
        dict(list(frame[frame.status == "done"].groupby(list(PLACE), sort=False))) for frame in (a, b)
    )
    pairs = {place: (cells, groups_b[place]) for place, cells in groups_a.items() if place in groups_b}
    differences = [_difference(place, *pair) for place, pair in pairs.items()]
    tested = {index: each.p for index, each in enumerate(differences) if each.p is not None}
    for index, p in zip(tested, holm(np.array(list(tested.values()))), strict=True):
        differences[index] = replace(differences[index], p_holm=float(p), verdict="yes" if p < LEVEL else "no")
    return differences


def _difference(place: tuple[str, ...], a: pd.DataFrame, b: pd.DataFrame) -> Difference:
    a, b = (frame.sort_values("seed") for frame in (a, b))
    paired = list(a.seed) == list(b.seed)
    values_a, values_b = (frame.accuracy.astype(float).tolist() for frame in (a, b))
    mean_a, mean_b = sum(values_a) / len(values_a), sum(values_b) / len(values_b)
    low, high, p, verdict = _test(values_a, values_b, paired)
    row, data, student = map(str, place)
    return Difference(
        row=row,
        data=data,
        student=student,
        mean_a=mean_a,
        mean_b=mean_b,
        n_a=len(values_a),
        n_b=len(values_b),
        difference=mean_b - mean_a,
        low=low,
        high=high,
        test="paired" if paired else "Welch",
        p=p,
        p_holm=None,
        verdict=verdict,
        hours_ratio=_hours_ratio(a, b),
    )


def _hours_ratio(a: pd.DataFrame, b: pd.DataFrame) -> float | None:
    """Mean own hours of B over those of A; None unless all are known, and of one kind of device."""
    devices = [set(frame.device.dropna()) | set(frame.unit.dropna()) for frame in (a, b)]
    hours_a, hours_b = (frame.own_hours.astype(float).mean() for frame in (a, b))
    comparable = devices[0] == devices[1] and len(devices[0]) == 2 and hours_a > 0 and not math.isnan(hours_b)
    return float(hours_b / hours_a) if comparable else None


def _test(a: Sequence[float], b: Sequence[float], paired: bool) -> tuple[float | None, float | None, float | None, str]:
    """95 % interval of mean(b) - mean(a), p-value of the test that it is 0, and the reason where there is none."""
    if paired and list(a) == list(b):
        return 0.0, 0.0, None, "identical"
    if min(len(a), len(b)) < 2:
        return None, None, None, "n too small to test"
    spread = [y - x for x, y in zip(a, b, strict=True)] if paired else [*a, *b]
    groups = [spread] if paired else [list(a), list(b)]
    if all(max(group) - min(group) < 1e-12 for group in groups):
        return None, None, None, "n too small to test" if len(groups[0]) < LEAST else "no spread to test against"
    estimate = estimate_paired(b, a) if paired else welch(b, a)
    low, high = (float(bound) for bound in estimate.interval(1 - LEVEL))
    if min(len(a), len(b)) < LEAST:
        return low, high, None, "n too small to test"
    return low, high, float(2 * min(estimate.p_above(0.0), estimate.p_below(0.0))), ""


def tables(comparison: RunComparison) -> list[Table]:
    """The comparison as tables: cells of one side alone, changed specs, and accuracies; those that are not empty."""
    all_tables = [_only_table(comparison), _changes_table(comparison), _differences_table(comparison)]
    return [table for table in all_tables if table.rows]


def _only_table(comparison: RunComparison) -> Table:
    groups: dict[tuple[str, ...], list[str]] = {}
    for side, cells in ((comparison.a, comparison.only_a), (comparison.b, comparison.only_b)):
        for cell in cells:
            groups.setdefault((side, cell.row, cell.data, cell.student), []).append(str(cell.seed))
    rows = [[*map(Entry, place), Entry(", ".join(seeds))] for place, seeds in groups.items()]
    return Table("only", "Cells of one side alone", ["only in", "arm", "data", "student", "seeds"], rows, labels=5)


def _changes_table(comparison: RunComparison) -> Table:
    rows = [
        [Entry(text) for text in (each.what, _cut(each.a), _cut(each.b), str(each.cells))]
        for each in comparison.changes
    ]
    notes = [f"{comparison.shared} cells are on both sides"]
    if comparison.unknown:
        notes.append(f"of {comparison.unknown} more that differ the spec is not known; give results.csv@STORE")
        rows = rows or [[Entry("(not known)"), Entry("–"), Entry("–"), Entry(str(comparison.unknown))]]
    return Table("changes", "What changed in the cells of both", ["what", "A", "B", "cells"], rows, notes, labels=3)


def _cut(value: str | None) -> str:
    return "–" if value is None else value if len(value) <= 60 else f"{value[:57]}..."


def _differences_table(comparison: RunComparison) -> Table:
    columns = [
        "arm",
        "data",
        "student",
        "A",
        "B",
        "B - A",
        "95 % interval",
        "test",
        "p",
        "p (Holm)",
        "real",
        "hours B/A",
    ]
    notes = [
        f"A: {comparison.a}; B: {comparison.b}; test {comparison.measure} in %, B - A in points with its interval by "
        "the t distribution",
        "test: paired by seed where both have the same seeds, else Welch's; real: p < 5 % after Holm's correction over "
        f"the rows tested; from {LEAST} seeds on",
    ]
    rows = [_difference_entries(each) for each in comparison.differences]
    title = "By how much, and is it real"
    return Table("differences", title, columns, rows, notes, labels=3, bold_meaning="the difference is real")


def _difference_entries(each: Difference) -> list[Entry]:
    interval = None if each.low is None or each.high is None else f"{100 * each.low:+.2f} to {100 * each.high:+.2f}"
    return [
        *map(Entry, (each.row, each.data, each.student)),
        Entry(f"{100 * each.mean_a:.2f} (n={each.n_a})"),
        Entry(f"{100 * each.mean_b:.2f} (n={each.n_b})"),
        Entry(f"{100 * each.difference:+.2f}", bold=each.verdict == "yes"),
        Entry(interval or "–"),
        Entry(each.test),
        *(Entry("–" if p is None else f"{p:.3g}") for p in (each.p, each.p_holm)),
        Entry(each.verdict),
        Entry("n/a" if each.hours_ratio is None else f"{each.hours_ratio:.2f}"),
    ]


def summary(comparison: RunComparison) -> str:
    """One line."""
    verdicts = Counter(each.verdict for each in comparison.differences)
    words = {"yes": "differ", "no": "do not differ beyond chance", "identical": "are identical"}
    parts = [f"{count} {words.get(verdict, f'({verdict})')}" for verdict, count in verdicts.items()]
    if not parts:
        return "no row is done on both sides"
    return f"{len(comparison.differences)} rows on both sides: {', '.join(parts)}"
