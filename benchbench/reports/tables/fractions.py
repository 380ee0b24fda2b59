"""Accuracy by size of the training set."""

from __future__ import annotations

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import groups_of
from benchbench.reports.summary import accuracy_text
from benchbench.reports.table import Entry, Table
from benchbench.suite.schema import DataEntry


def fractions(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Test accuracy of every arm by part of the training set; None where no source comes in several sizes."""
    sources = parts(plan)
    if not sources:
        return None
    portions = list(dict.fromkeys(portion for labels in sources.values() for portion in labels))
    groups = groups_of(results)
    rows = []
    for source, labels in sources.items():
        pairs = results[results.data.isin(labels.values())][["student", "row"]].drop_duplicates()
        for student, row in pairs.itertuples(index=False):
            of_portions = [groups.get((labels.get(portion, ""), student)) for portion in portions]
            texts = [accuracy_text(group[row]) if group else "–" for group in of_portions]
            rows.append([Entry(text) for text in (source, student, row, *texts)])
    columns = ["data set", "student", "arm", *portions]
    notes = ["mean test accuracy (%) ± standard deviation over n seeds, by training images: " + _sizes(sources, plan)]
    return Table("fractions", f"Accuracy by training data in {plan.suite.name}", columns, rows, notes, labels=3)


def parts(plan: Plan) -> dict[str, dict[str, str]]:
    """Data sets that a suite has in several sizes: by source, the label of each part, from small to large.

    A source with its parameters is one data set. Of parts of one size (drawn by other seeds) the first one counts.
    """
    sources: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for label in sorted(plan.suite.data, key=lambda label: images(plan, label)):
        entry = plan.suite.data[label]
        ref = entry.source
        # Several sets of parameters need names that differ.
        variants = {str(each.source) for each in plan.suite.data.values() if each.source.name == ref.name}
        params = f" ({', '.join(f'{name} {value}' for name, value in ref.params.items())})" if len(variants) > 1 else ""
        name = names.setdefault(str(ref), f"{ref.name}{params}")
        sources.setdefault(name, {}).setdefault(_portion(entry), label)
    return {source: labels for source, labels in sources.items() if len(labels) > 1}


def images(plan: Plan, label: str) -> int:
    """Training images of a data set's part, the validation split among them."""
    entry, info = plan.suite.data[label], plan.info[label]
    if entry.per_class is not None:
        return entry.per_class * info.classes
    return info.train if entry.fraction is None else round(info.train * entry.fraction)


def _portion(entry: DataEntry) -> str:
    if entry.per_class is not None:
        return f"{entry.per_class} per class"
    return "all" if entry.fraction in (None, 1) else f"{100 * float(entry.fraction):g} %"


def _sizes(sources: dict[str, dict[str, str]], plan: Plan) -> str:
    return "; ".join(
        f"{source}: {', '.join(f'{portion} = {images(plan, label):,}' for portion, label in labels.items())}"
        for source, labels in sources.items()
    )
