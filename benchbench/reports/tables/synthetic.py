"""Tables of generated images: their quality, and the gain of arms by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Cell, Plan, Stage
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.results import epochs_of, read_record
from benchbench.reports.summary import difference_note, difference_text, labels_of, level_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import number, trained_hours
from benchbench.specs.records import QualityMetrics, QualityRecord, SynthesisRecord
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
class GeneratedSet:
    """A finished set of generated images.

    Attributes:
        label, data: of the set, and of the data set that it belongs to.
        key: of the stage that generates it.
        record: of that stage.
        hours: device-hours of generating it, and of training its generator.
        quality: measures of the quality stage; None where it is not finished.
    """

    label: str
    data: str
    key: str
    record: SynthesisRecord
    hours: float
    quality: QualityMetrics | None


def generated_sets(plan: Plan, store: Store) -> list[GeneratedSet]:
    """The finished sets of a suite, in its order; damaged ones are left out."""
    sets: dict[str, GeneratedSet | None] = {}
    quality_keys = {stage.needs["synthetic"]: key for key, stage in plan.stages.items() if stage.kind == "quality"}
    for cell in plan.cells:
        use = plan.suite.arms[cell.arm].synthetic
        key = plan.stages[cell.stage].needs.get("synthetic")
        if use is None or key is None or key in sets:
            continue
        try:
            sets[key] = _generated_set(use.set, cell.data, plan.stages[key], quality_keys.get(key), store)
        except StoreError:
            sets[key] = None
    return [each for each in sets.values() if each is not None]


def _generated_set(label: str, data: str, stage: Stage, quality_key: str | None, store: Store) -> GeneratedSet | None:
    record = read_record(store.stage("synthesis", stage.key), SynthesisRecord)
    if record is None:
        return None
    hours = record.cost.device_hours
    for key in stage.needs.values():
        training = store.stage("diffusion", key).done()
        hours += training.cost.device_hours if training is not None else 0.0
    quality = read_record(store.stage("quality", quality_key), QualityRecord) if quality_key else None
    return GeneratedSet(label, data, stage.key, record, hours, quality.metrics if quality else None)


def synthetic(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Each set of generated images: number, quality, variety, and share of copies; None without any."""
    sets = generated_sets(plan, store)
    if not sets:
        return None
    labels = ["set", "data"] if len({each.data for each in sets}) > 1 else ["set"]
    rows = [[Entry(text) for text in ([each.label, each.data][: len(labels)] + _texts(each))] for each in sets]
    columns = [*labels, "images", "refused", *MEASURES, "copies (train / test)", "hours"]
    title = f"Generated images of {plan.suite.name}"
    return Table("synthetic", title, columns, rows, _notes(sets, plan), len(labels))


def _texts(each: GeneratedSet) -> list[str]:
    metrics, quality = each.record.metrics, each.quality
    measures = []
    for name, factor, decimals in MEASURES.values():
        value = getattr(quality, name, None)
        measures.append("–" if value is None else f"{factor * value:.{decimals}f}")
    copies = f"{quality.train.copies} / {quality.test.copies}" if quality else "–"
    return [f"{metrics.images:,}", f"{sum(metrics.rejected.values()):,}", *measures, copies, number(each.hours)]


def _notes(sets: list[GeneratedSet], plan: Plan) -> list[str]:
    notes = [
        "refused: attempts whose image was black, of one colour, not finite or of a wrong size; they are repeated up "
        "to three times; hours: device-hours of generation, and of training the model where the suite does that",
    ]
    quality = plan.suite.quality
    some = next((each.quality for each in sets if each.quality), None)
    if quality is None or some is None:
        return [*notes, "not judged; `quality: {teacher: ...}` names the network to judge them by"]
    notes.append(
        f"by the embedding of {quality.teacher} ({quality.state}), {some.dimensions} features, against "
        f"{some.real:,} training images; FID and KID: lower is better; precision, density: how many look real; "
        "recall, coverage: how much of the real variety is there; agreement: of that network with the class asked for"
    )
    if min(some.real, some.images) < some.dimensions:
        notes.append("FID with fewer images than features is biased upwards: it ranks sets of one size alone")
    notes.append(
        "copies: images less than half as far from a real one as that one's nearest other; copies of test images are "
        "leaks; the records of the quality stages name them"
    )
    return notes


@dataclass(frozen=True)
class Pair:
    """A row of the tables whose arm uses generated images, and the row of the same arm without."""

    row: str
    twin: str
    set: str
    data: str
    student: str


def pairs(plan: Plan) -> Iterator[Pair]:
    """Every row with such a twin, by data set and student."""
    twins: dict[tuple[object, ...], str] = {}
    for cell in plan.cells:
        if plan.suite.arms[cell.arm].synthetic is None:
            twins.setdefault(_place(plan, cell), cell.row)
    all_pairs: dict[tuple[str, str, str], Pair] = {}
    for cell in plan.cells:
        use, twin = plan.suite.arms[cell.arm].synthetic, twins.get(_place(plan, cell))
        if use is not None and twin is not None:
            pair = Pair(cell.row, twin, use.set, cell.data, cell.student)
            all_pairs.setdefault((pair.row, pair.data, pair.student), pair)
    yield from all_pairs.values()


def _place(plan: Plan, cell: Cell) -> tuple[object, ...]:
    """The part of a cell that its twin has too: all but generated images (and the seed)."""
    arm = plan.suite.arms[cell.arm].model_copy(update={"synthetic": None})
    length = epochs_of(plan, cell) if cell.ladder else None
    return arm.model_dump_json(), length, cell.teachers, cell.state, cell.data, cell.student


def synthetic_gains(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Each arm that uses generated images against the same arm without; None where there are no such pairs."""
    all_pairs = list(pairs(plan))
    if not all_pairs:
        return None
    groups = groups_of(results)
    labels = labels_of(results, "data", "student")
    rows = []
    for pair in all_pairs:
        place = pair.data, pair.student
        texts = [pair.row, pair.set, *_gain_texts(pair, groups[place], level_of(plan))]
        rows.append([Entry(text) for text in (*(place if labels else ()), *texts)])
    columns = [*labels, "arm", "set", "gain", "× hours", "n"]
    notes = [
        f"gain: {difference_note(plan)}, over the same arm without generated images",
        "× hours: device-hours of a run with its share of the stages it needs, generation among them, as a multiple of "
        "the other's: an arm that trains longer for its images may gain by that alone",
    ]
    title = f"Gain by generated images in {plan.suite.name}"
    return Table("synthetic_gains", title, columns, rows, notes, len(labels) + 1)


def _gain_texts(pair: Pair, group: Group, level: float) -> list[str]:
    runs, twins = group[pair.row], group[pair.twin]
    gain = difference_text(runs, twins, group.resolution, level)
    hours = [each.n and trained_hours(each) for each in (runs, twins)]
    ratio = f"{hours[0] / hours[1]:.2f}" if all(hours) else "–"
    return [gain, ratio, f"{runs.n} / {twins.n}"]
