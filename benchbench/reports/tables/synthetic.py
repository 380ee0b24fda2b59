"""Generated images: what they are like, and what arms gain by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchbench.errors import StoreError
from benchbench.plan.model import Cell, Plan, Stage
from benchbench.reports.groups import groups_of, runs_of
from benchbench.reports.summary import difference_note, difference_text, labels_of, level_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import HOURS, number, trained_hours
from benchbench.store import Store

MEASURES = {
    "FID": ("fid", 1.0, 1),
    "KID (x1000)": ("kid", 1000.0, 2),
    "precision": ("precision", 1.0, 2),
    "recall": ("recall", 1.0, 2),
    "density": ("density", 1.0, 2),
    "coverage": ("coverage", 1.0, 2),
    "agreement (%)": ("agreement", 100.0, 1),
}


@dataclass(frozen=True)
class MadeSet:
    """A set of generated images as a store knows it.

    Attributes:
        label, data: which set, for which data set.
        stage: that makes it.
        record: of that stage.
        hours: device-hours of generating it, and of training its model.
        quality: what the judge's stage has measured; None where nothing has.
    """

    label: str
    data: str
    stage: Stage
    record: dict[str, Any]
    hours: float
    quality: dict[str, Any] | None


def made_sets(plan: Plan, store: Store) -> list[MadeSet]:
    """The finished sets of a suite, in its order; damaged ones are left out."""
    found: dict[str, MadeSet] = {}
    quality = {stage.needs["synthetic"]: stage for stage in plan.stages.values() if stage.kind == "quality"}
    for cell in plan.cells:
        use = plan.suite.arms[cell.arm].synthetic
        key = plan.stages[cell.stage].needs.get("synthetic")
        if use is None or key is None or key in found:
            continue
        try:
            record = store.stage("synthesis", key).done()
            if record is None:
                continue
            stages = [("synthesis", key), *(("diffusion", each) for each in plan.stages[key].needs.values())]
            costs = [(store.stage(*each).done() or {}).get("cost", {}).get("device_hours", 0.0) for each in stages]
            judged = store.stage("quality", quality[key].key).done() if key in quality else None
        except StoreError:
            continue
        metrics = judged["metrics"] if judged else None
        found[key] = MadeSet(use.set, cell.data, plan.stages[key], record, sum(costs), metrics)
    return list(found.values())


def synthetic(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Each set of generated images: how many, how good, how varied, how much is copied; None without any."""
    sets = made_sets(plan, store)
    if not sets:
        return None
    several = len({each.data for each in sets}) > 1
    rows = []
    for each in sets:
        metrics, quality = each.record["metrics"], each.quality
        refused = sum(metrics["rejected"].values())
        texts = [each.label, *([each.data] if several else []), f"{metrics['images']:,}", f"{refused:,}"]
        for name, factor, decimals in MEASURES.values():
            value = quality.get(name) if quality else None
            texts.append("–" if value is None else f"{factor * value:.{decimals}f}")
        copied = f"{quality['train']['copies']} / {quality['test']['copies']}" if quality else "–"
        rows.append([Entry(text) for text in (*texts, copied, number(each.hours))])
    columns = ["set", *(["data"] if several else []), "images", "refused", *MEASURES, "copies (train / test)", "hours"]
    title = f"Generated images of {plan.suite.name}"
    return Table("synthetic", title, columns, rows, _notes(sets, plan), 2 if several else 1)


def _notes(sets: list[MadeSet], plan: Plan) -> list[str]:
    notes = [
        "refused: attempts whose image was black, of one colour, not finite or of a wrong size; they are drawn anew, "
        "up to three times; hours: device-hours of generating, and of training the model where the suite does that",
    ]
    quality = plan.suite.quality
    if quality is None or not any(each.quality for each in sets):
        return [*notes, "not judged; `quality: {teacher: ...}` names the network to judge them by"]
    some = next(each.quality for each in sets if each.quality)
    notes.append(
        f"by the embedding of {quality.teacher} ({quality.state}), {some['dimensions']} features, against "
        f"{some['real']:,} training images; FID and KID: lower is better; precision, density: how many look real; "
        "recall, coverage: how much of the real variety is there; agreement: of that network with the class asked for"
    )
    if min(some["real"], some["images"]) < some["dimensions"]:
        notes.append("FID with fewer images than features is biased upwards: it ranks sets of one size alone")
    notes.append(
        "copies: images less than half as far from a real one as that one's nearest other; of test images they would "
        "be leaks; the records of the quality stages name them"
    )
    return notes


@dataclass(frozen=True)
class Pair:
    """A row of the tables whose arm uses generated images, and that of the same arm without."""

    row: str
    twin: str
    set: str
    data: str
    student: str


def pairs(plan: Plan) -> Iterator[Pair]:
    """Every row with such a twin, by data set and student."""
    alone: dict[tuple[Any, ...], str] = {}
    for cell in plan.cells:
        if plan.suite.arms[cell.arm].synthetic is None:
            alone.setdefault(_place(plan, cell), cell.row)
    seen = set()
    for cell in plan.cells:
        use = plan.suite.arms[cell.arm].synthetic
        twin = alone.get(_place(plan, cell))
        if use is not None and twin is not None and (place := (cell.row, cell.data, cell.student)) not in seen:
            seen.add(place)
            yield Pair(cell.row, twin, use.set, cell.data, cell.student)


def _place(plan: Plan, cell: Cell) -> tuple[Any, ...]:
    """What two cells have in common that differ in nothing but generated images (and the seed)."""
    arm = plan.suite.arms[cell.arm].model_copy(update={"synthetic": None})
    return arm.model_dump_json(), cell.teachers, cell.adapt, cell.data, cell.student


def synthetic_gains(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Each arm that uses generated images against the same arm without; None where there are no such pairs."""
    found = list(pairs(plan))
    if not found:
        return None
    groups = {(group.data, group.student): group for group in groups_of(results)}
    runs = runs_of(results, *HOURS)
    labels = labels_of(results, "data", "student")
    rows = []
    for pair in found:
        group, costs = groups[pair.data, pair.student], runs[pair.data, pair.student]
        ours, theirs = group.rows.get(pair.row), group.rows.get(pair.twin)
        gain = difference_text(ours, theirs, group.resolution, level_of(plan))
        hours = [costs[row].n and trained_hours(costs[row]) for row in (pair.row, pair.twin)]
        more = f"{hours[0] / hours[1]:.2f}" if all(hours) else "–"
        n = " / ".join(str(len(each.accuracies)) if each else "0" for each in (ours, theirs))
        place = [pair.data, pair.student] if labels else []
        rows.append([Entry(text) for text in (*place, pair.row, pair.set, gain, more, n)])
    columns = [*labels, "arm", "set", "gain", "× hours", "n"]
    notes = [
        f"gain: {difference_note(plan)}, over the same arm without generated images",
        "× hours: device-hours of a run with its share of the stages it stands on, generation among them, as a "
        "multiple of the other's: an arm that trains longer for its images may gain by that alone",
    ]
    title = f"What generated images gain in {plan.suite.name}"
    return Table("synthetic_gains", title, columns, rows, notes, len(labels) + 1)
