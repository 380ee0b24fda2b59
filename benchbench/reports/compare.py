"""Two suites, or two versions of one: what changed, by how much, and whether it is more than chance."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from benchbench.plan.keys import identity
from benchbench.reports.compare_inputs import Side
from benchbench.reports.table import Entry, Table
from benchbench.statistics.estimate import paired as estimate_paired
from benchbench.statistics.estimate import welch
from benchbench.statistics.noninferiority import holm

LEVEL = 0.05
# Of two values the t distribution has one degree of freedom, and its 5 % point is 12.7 standard errors.
LEAST = 3
PLACE = ("row", "data", "student")


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


@dataclass
class RunComparison:
    """What `compare` finds.

    Attributes:
        a, b: names of the sides.
        only_a, only_b: cells of one side alone: row, data, student, seed.
        shared: how many cells both have.
        changes: parts of the specs of shared cells that differ: what, a, b, and in how many cells.
        unknown: shared cells whose spec is not known on both sides although their keys differ.
        differences: of accuracy, a row each.
    """

    a: str
    b: str
    only_a: list[dict[str, Any]] = field(default_factory=list)
    only_b: list[dict[str, Any]] = field(default_factory=list)
    shared: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    unknown: int = 0
    differences: list[Difference] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: Side, b: Side) -> RunComparison:
    """Compares two sides cell by cell; cells are the same that have the same row, data set, student and seed."""
    keys = [_keys(side.frame) for side in (a, b)]
    shared = [cell for cell in keys[0] if cell in keys[1]]
    found = RunComparison(a.name, b.name, shared=len(shared))
    for mine, other, only in ((keys[0], keys[1], found.only_a), (keys[1], keys[0], found.only_b)):
        only += [dict(zip((*PLACE, "seed"), cell, strict=True)) for cell in mine if cell not in other]
    count: Counter[tuple[str, str | None, str | None]] = Counter()
    for cell in shared:
        changes = _changes(a, b, keys[0][cell], keys[1][cell])
        if changes is None:
            found.unknown += 1
        else:
            count.update((what, *values) for what, values in changes.items())
    found.changes = [{"what": what, "a": one, "b": two, "cells": n} for (what, one, two), n in count.items()]
    found.differences = _differences(a.frame, b.frame)
    return found


def _keys(frame: pd.DataFrame) -> dict[tuple[str, str, str, int], str]:
    """Keys of stages by row, data set, student and seed."""
    columns = (frame[name] for name in (*PLACE, "seed", "key"))
    return {(row, data, student, int(seed)): str(key) for row, data, student, seed, key in zip(*columns, strict=True)}


def _changes(a: Side, b: Side, key_a: str, key_b: str) -> dict[str, tuple[str | None, str | None]] | None:
    """What differs between two stages and the stages they stand on; None where a spec is not known."""
    if key_a == key_b:
        return {}
    jobs = [side.jobs.get(key) for side, key in ((a, key_a), (b, key_b))]
    if jobs[0] is None or jobs[1] is None:
        return None
    one, two = (_flat({**identity(job), "needs": {}}) for job in jobs if job is not None)
    changed = {
        what: (one.get(what), two.get(what)) for what in dict.fromkeys([*one, *two]) if one.get(what) != two.get(what)
    }
    needs = [job["needs"] for job in jobs if job is not None]
    for role in dict.fromkeys([*needs[0], *needs[1]]):
        if role in needs[0] and role in needs[1]:
            below = _changes(a, b, needs[0][role], needs[1][role])
            below = {"stage": (needs[0][role][:16], needs[1][role][:16])} if below is None else below
            changed |= {f"{role}: {what}": values for what, values in below.items()}
    return changed


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """A job as {"recipe.epochs": "12"}; items of a list go by their names where all have one."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        names = [str(item.get("name", number)) for number, item in enumerate(value)]
        value = dict(zip(names if len(set(names)) == len(names) else map(str, range(len(value))), value, strict=True))
    if isinstance(value, dict):
        parts = [_flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items()]
        return {what: text for part in parts for what, text in part.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    # A hash says that something differs, and no more.
    return {name: text[:12] if len(text) == 64 and all(c in "0123456789abcdef" for c in text) else text}


def _differences(a: pd.DataFrame, b: pd.DataFrame) -> list[Difference]:
    groups = [dict(list(frame[frame.status == "done"].groupby(list(PLACE), sort=False))) for frame in (a, b)]
    made = [_difference(place, cells, groups[1][place]) for place, cells in groups[0].items() if place in groups[1]]
    tested = [number for number, each in enumerate(made) if each.p is not None]
    for number, p in zip(tested, holm(np.array([made[number].p or 0.0 for number in tested])), strict=True):
        made[number] = replace(made[number], p_holm=float(p), verdict="yes" if p < LEVEL else "no")
    return made


def _difference(place: Any, a: pd.DataFrame, b: pd.DataFrame) -> Difference:
    a, b = (frame.sort_values("seed") for frame in (a, b))
    paired = list(a.seed) == list(b.seed)
    one, two = (frame.accuracy.astype(float).tolist() for frame in (a, b))
    low, high, p, verdict = _test(one, two, paired)
    ran = [set(frame.device.dropna()) | set(frame.unit.dropna()) for frame in (a, b)]
    hours = [frame.own_hours.astype(float).mean() for frame in (a, b)]
    comparable = ran[0] == ran[1] and len(ran[0]) == 2 and hours[0] > 0 and not math.isnan(hours[1])
    row, data, student = map(str, place)
    return Difference(
        row=row,
        data=data,
        student=student,
        mean_a=sum(one) / len(one),
        mean_b=sum(two) / len(two),
        n_a=len(one),
        n_b=len(two),
        difference=sum(two) / len(two) - sum(one) / len(one),
        low=low,
        high=high,
        test="paired" if paired else "Welch",
        p=p,
        p_holm=None,
        verdict=verdict,
        hours_ratio=float(hours[1] / hours[0]) if comparable else None,
    )


def _test(a: Sequence[float], b: Sequence[float], paired: bool) -> tuple[float | None, float | None, float | None, str]:
    """95 % interval of mean(b) - mean(a), p-value of its being 0, and what there is to say where there is none."""
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


def tables(found: RunComparison) -> list[Table]:
    """The comparison as tables: cells of one side alone, changed specs, and accuracies; those that are not empty."""
    made = [_only_table(found), _changes_table(found), _differences_table(found)]
    return [table for table in made if table.rows]


def _only_table(found: RunComparison) -> Table:
    groups: dict[tuple[str, ...], list[str]] = {}
    for side, cells in ((found.a, found.only_a), (found.b, found.only_b)):
        for cell in cells:
            groups.setdefault((side, *(str(cell[name]) for name in PLACE)), []).append(str(cell["seed"]))
    rows = [[*map(Entry, place), Entry(", ".join(seeds))] for place, seeds in groups.items()]
    return Table("only", "Cells of one side alone", ["only in", "arm", "data", "student", "seeds"], rows, labels=5)


def _changes_table(found: RunComparison) -> Table:
    rows = [
        [Entry(change["what"]), *(Entry(_shown(change[side])) for side in ("a", "b")), Entry(str(change["cells"]))]
        for change in found.changes
    ]
    notes = [f"{found.shared} cells are on both sides"]
    if found.unknown:
        notes.append(f"of {found.unknown} more that differ the spec is not known; give results.csv@STORE")
        rows = rows or [[Entry("(not known)"), Entry("–"), Entry("–"), Entry(str(found.unknown))]]
    return Table("changes", "What changed in the cells of both", ["what", "A", "B", "cells"], rows, notes, labels=3)


def _shown(value: str | None) -> str:
    return "–" if value is None else value if len(value) <= 60 else f"{value[:57]}..."


def _differences_table(found: RunComparison) -> Table:
    rows = [
        [
            *(Entry(getattr(each, name)) for name in PLACE),
            Entry(f"{100 * each.mean_a:.2f} (n={each.n_a})"),
            Entry(f"{100 * each.mean_b:.2f} (n={each.n_b})"),
            Entry(f"{100 * each.difference:+.2f}", bold=each.verdict == "yes"),
            Entry("–" if each.low is None or each.high is None else f"{100 * each.low:+.2f} to {100 * each.high:+.2f}"),
            Entry(each.test),
            *(Entry("–" if p is None else f"{p:.3g}") for p in (each.p, each.p_holm)),
            Entry(each.verdict),
            Entry("n/a" if each.hours_ratio is None else f"{each.hours_ratio:.2f}"),
        ]
        for each in found.differences
    ]
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
        f"A: {found.a}; B: {found.b}; test accuracy in %, B - A in points with its interval by the t distribution",
        "test: paired by seed where both have the same seeds, else Welch's; real: p < 5 % after Holm's correction over "
        f"the rows tested; from {LEAST} seeds on",
    ]
    return Table("differences", "By how much, and is it real", columns, rows, notes, labels=3)


def summary(found: RunComparison) -> str:
    """One line."""
    verdicts: Mapping[str, int] = Counter(each.verdict for each in found.differences)
    words = {"yes": "differ", "no": "do not differ beyond chance", "identical": "are identical"}
    parts = [f"{count} {words.get(verdict, f'({verdict})')}" for verdict, count in verdicts.items()]
    return (
        f"{len(found.differences)} rows on both sides: {', '.join(parts)}" if parts else "no row is done on both sides"
    )
