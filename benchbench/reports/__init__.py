"""Reports: one table model, built from results by functions that plugins may add to, drawn by many renderers."""

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
        "verdicts", "benchbench.reports.verdicts:verdicts", summary="each distilled arm against pre-train + fine-tune"
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
