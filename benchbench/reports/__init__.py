"""Reports: tables and pictures of results, made by functions that plugins may add to, drawn by many renderers."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component
from benchbench.hookspecs import hookimpl


@hookimpl
def benchbench_reports() -> Iterable[Component]:
    yield Component(
        "accuracy", "benchbench.reports.accuracy:accuracy", summary="test accuracy: arms x (data set, student)"
    )
    yield Component(
        "gpu_hours", "benchbench.reports.cost:gpu_hours", summary="device-hours by arm, against pre-train + fine-tune"
    )
    yield Component(
        "foundations",
        "benchbench.reports.foundations:foundations",
        summary="device-hours of what each arm stands on: shared, in full, and pre-training",
    )
    yield Component(
        "predicted", "benchbench.reports.predicted:predicted", summary="device-hours as predicted and as measured"
    )
    yield Component(
        "resources", "benchbench.reports.resources:resources", summary="size, memory, energy and price of one run"
    )
    yield Component("ledger", "benchbench.reports.ledger:ledger", summary="every device-hour of the runs, by line")
    yield Component(
        "verdicts", "benchbench.reports.verdicts:verdicts", summary="each distilled arm against pre-train + fine-tune"
    )
    yield Component(
        "savings", "benchbench.reports.savings:savings", summary="time that distillation saves, with intervals"
    )
    yield Component(
        "synthetic", "benchbench.reports.synthetic:synthetic", summary="quality of generated images, and what they cost"
    )
    yield Component(
        "synthetic_gains",
        "benchbench.reports.synthetic:synthetic_gains",
        summary="arms with generated images against the same arms without",
    )
    yield Component(
        "fractions", "benchbench.reports.fractions:fractions", summary="accuracy by how much of a data set is taken"
    )
    yield Component("gains", "benchbench.reports.gains:gains", summary="teacher x student: gain over the student alone")
    yield Component(
        "losses", "benchbench.reports.losses:losses", summary="losses ranked that share teacher, state and student"
    )
    yield Component("ranking", "benchbench.reports.ranking:ranking", summary="arms over all data sets and students")
    yield Component(
        "profiles", "benchbench.reports.ranking:profiles", summary="share of runs above each gain, over all data sets"
    )
    yield Component(
        "published", "benchbench.reports.published:published", summary="published against reproduced accuracy, if any"
    )
    yield Component(
        "diagnosis", "benchbench.reports.diagnosis:diagnosis", summary="signs of failure with their evidence, if any"
    )


@hookimpl
def benchbench_figures() -> Iterable[Component]:
    yield Component(
        "pareto", "benchbench.reports.figures.pareto:pareto", summary="accuracy against device-hours, with the front"
    )
    yield Component(
        "fractions", "benchbench.reports.figures.fractions:fractions", summary="accuracy against training images"
    )
    module = "benchbench.reports.figures.synthetic"
    yield Component("contact_sheet", f"{module}:contact_sheet", summary="generated images of each class")
    yield Component(
        "quality_and_gain", f"{module}:quality_and_gain", summary="gain against the quality of generated images"
    )
    yield Component("curves", "benchbench.reports.figures.curves:curves", summary="learning curves of each arm")
    yield Component("costs", "benchbench.reports.figures.costs:costs", summary="what the time of each arm went to")


@hookimpl
def benchbench_templates() -> Iterable[Component]:
    yield Component("full", "benchbench.reports.templates:full", summary="every table and picture")
    yield Component("paper", "benchbench.reports.templates:paper", summary="what a paper prints, in its order")
