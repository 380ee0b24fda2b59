"""The metric that a suite is about: tables, verdicts and figures have it where they have accuracy, and say its name."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.answer_metrics import metric_words
from benchbench.reports.figure import Figure
from benchbench.reports.table import Table
from benchbench.suite.reporting import BOX_METRICS, PIXEL_METRICS

ACCURACY = "accuracy"
UNMEASURED = "unmeasured"
# Tables and figures that are about the top class itself, or have metrics of their own.
PLAIN = ("metrics", "classes", "confusions", "published", "diagnosis", "search", "curves")
# Accuracies of the training are no others than they were; nor are those of teachers.
_WORD = re.compile(r"(?<!validation )(?<!training )(?<!train )(?<!teacher )(?<!teachers' )\baccuracy\b")


def headline_results(results: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The results with the suite's metric in the column `accuracy`; finished cells that lack it are `unmeasured`."""
    metric = plan.suite.metric
    if metric == ACCURACY:
        return results
    values = pd.to_numeric(results[metric])
    lacking = (results.status == "done") & values.isna()
    return results.assign(accuracy=values, status=results.status.mask(lacking, UNMEASURED))


def headline_notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    """Note on the metric for readers of every table."""
    metric = plan.suite.metric
    if metric == ACCURACY:
        return []
    words = metric_words(metric)
    if metric in PIXEL_METRICS:
        notes = [f"metric of the suite: {words}, over the pixels of all test images together"]
    elif metric in BOX_METRICS:
        notes = [f"metric of the suite: {words}, as COCO counts it, over the boxes of all test images together"]
    elif plan.task != "classification":
        notes = [f"metric of the suite: {metric}"]
    else:
        notes = [f"metric of the suite: {words}, in place of accuracy; images won : lost are by the top class"]
    if lacking := int(((results.status == "done") & results[metric].isna()).sum()):
        notes.append(
            f"{lacking} cells that are done have no {words} (5 classes or fewer, or no stored predictions) "
            "and count as missing"
        )
    return notes


def renamed(text: str, plan: Plan) -> str:
    """A text about accuracy as one about the suite's metric."""
    return text if plan.suite.metric == ACCURACY else _WORD.sub(metric_words(plan.suite.metric), text)


def renamed_answer(text: str, plan: Plan) -> str:
    """The answer, with the metric that its numbers are of."""
    return text if plan.suite.metric == ACCURACY else f"By {metric_words(plan.suite.metric)}: {text}"


def renamed_table(table: Table, plan: Plan) -> Table:
    """A table whose title, columns and notes name the suite's metric."""
    if plan.suite.metric == ACCURACY:
        return table
    columns, notes = ([renamed(text, plan) for text in texts] for texts in (table.columns, table.notes))
    return replace(table, title=renamed(table.title, plan), columns=columns, notes=notes)


def renamed_figure(figure: Figure, plan: Plan) -> Figure:
    """A figure whose title, notes and axes name the suite's metric."""
    if plan.suite.metric == ACCURACY:
        return figure
    for axis in figure.figure.axes:
        axis.set_xlabel(renamed(axis.get_xlabel(), plan))
        axis.set_ylabel(renamed(axis.get_ylabel(), plan))
    return replace(figure, title=renamed(figure.title, plan), notes=[renamed(text, plan) for text in figure.notes])
