"""Reports: tables and figures of results, made by functions that plugins may add to, drawn by many renderers."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component, hookimpl

# Name, module and function under `benchbench.reports`, summary; in the order of a report.
TABLES = (
    ("accuracy", "tables.accuracy:accuracy", "test accuracy: arms x (data set, student)"),
    ("metrics", "tables.answers:metrics", "accuracy, balanced accuracy, top-5 accuracy and calibration error"),
    ("gpu_hours", "tables.gpu_hours:gpu_hours", "device-hours by arm, against pre-train + fine-tune"),
    (
        "foundations",
        "tables.foundations:foundations",
        "device-hours of the stages that each arm needs: shared, in full, and pre-training",
    ),
    ("predicted", "tables.predicted:predicted", "device-hours as predicted and as measured"),
    ("search", "tables.search:search", "trials of each search, and the values that were chosen, if any"),
    ("resources", "tables.resources:resources", "size, memory, energy and price of one run"),
    ("ledger", "tables.ledger:ledger", "every device-hour of the runs, by line"),
    ("verdicts", "tables.verdicts:verdicts", "each distilled arm against pre-train + fine-tune"),
    ("by_image", "tables.images:by_image", "segmentations and detections: distilled arms over test images drawn anew"),
    ("savings", "tables.savings:savings", "time that distillation saves, with intervals"),
    ("break_even", "tables.break_even:break_even_table", "tasks from which one pre-training costs less"),
    ("crossings", "tables.crossings:crossings", "hours at which distillation and fine-tuning are equally good"),
    ("verdict_map", "tables.verdict_map:verdict_map_table", "verdicts at equal compute by data, student and teacher"),
    ("synthetic", "tables.synthetic:synthetic", "quality and cost of generated images"),
    ("synthetic_gains", "tables.synthetic:synthetic_gains", "arms with generated images against the same arms without"),
    ("fractions", "tables.fractions:fractions", "accuracy by size of the training set"),
    ("gains", "tables.gains:gains", "teacher x student: gain over the student alone"),
    ("mismatch", "tables.mismatch:mismatch", "teacher x student: gain beside size, family and likeness"),
    ("losses", "tables.losses:losses", "losses ranked that share teacher, state and student"),
    ("against_kd", "tables.against_kd:against_kd", "losses against KD at equal epochs and at equal hours"),
    ("ranking", "tables.ranking:ranking", "arms over all data sets and students"),
    ("profiles", "tables.ranking:profiles", "share of runs above each gain, over all data sets"),
    ("classes", "tables.answers:classes", "accuracy or IoU by class, the worst classes first"),
    ("confusions", "tables.answers:confusions", "classes that are most often taken for others"),
    ("published", "tables.published:published", "published against reproduced accuracy, if any"),
    ("diagnosis", "tables.diagnosis:diagnosis", "signs of failure with their evidence, if any"),
)
FIGURES = (
    ("pareto", "figures.pareto:pareto", "accuracy against device-hours, with the front"),
    ("fractions", "figures.fractions:fractions", "accuracy against training images"),
    ("contact_sheet", "figures.synthetic:contact_sheet", "generated images of each class"),
    ("quality_and_gain", "figures.synthetic:quality_and_gain", "gain against the quality of generated images"),
    ("break_even", "figures.break_even:break_even_figure", "device-hours in all against the number of tasks"),
    ("iso_compute", "figures.iso_compute:iso_compute", "accuracy against hours of arms of several lengths"),
    ("verdict_map", "figures.verdict_map:verdict_map", "where distillation wins at equal compute"),
    ("curves", "figures.curves:curves", "learning curves of each arm"),
    ("costs", "figures.costs:costs", "device-hours of each arm by section"),
)


@hookimpl
def benchbench_reports() -> Iterable[Component]:
    return _components(TABLES)


@hookimpl
def benchbench_metrics() -> Iterable[Component]:
    """Each target is `(answers, classes: int) -> float`, 0..1."""
    target, summary = "benchbench.reports.metrics:ap75", "AP at an overlap of 0.75 (Lin et al. 2014, COCO)"
    yield Component("ap75", target, summary=summary, boxes=True)


@hookimpl
def benchbench_figures() -> Iterable[Component]:
    return _components(FIGURES)


@hookimpl
def benchbench_templates() -> Iterable[Component]:
    yield Component("full", "benchbench.reports.templates:full", summary="every table and figure")
    yield Component("paper", "benchbench.reports.templates:paper", summary="tables and figures for a paper")


def _components(entries: Iterable[tuple[str, str, str]]) -> list[Component]:
    return [Component(name, f"benchbench.reports.{target}", summary=summary) for name, target, summary in entries]
