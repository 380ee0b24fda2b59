"""Device-hours of one run, counted in two ways: what it is built on is taken as given, or all of it is paid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd

from benchbench.reports.groups import Runs
from benchbench.reports.summary import finished

Accounting = Literal["as given", "all paid"]
ACCOUNTINGS: tuple[Accounting, ...] = ("as given", "all paid")
ACCOUNTING_NOTE = (
    "as given: the run's own hours, with weights and teachers taken as given; all paid: with the stages that it needs "
    "in full, such as the teacher's adaptation, and the pre-training of the student and of the teachers"
)
PRETRAININGS = {"pretraining_hours": "student", "teacher_pretraining_hours": "teachers"}


def run_hours(runs: Runs, accounting: Accounting) -> np.ndarray:
    """Device-hours of each finished run [n]; pre-training whose hours are not known counts 0, see `unknown_hours`."""
    own = runs["own_hours"]
    if accounting == "as given":
        return own
    return own + runs["stage_hours"] + sum(np.nan_to_num(runs[name]) for name in PRETRAININGS)


def accounting_label(accounting: Accounting, all_runs: Iterable[Runs]) -> str:
    """A heading of figures that count so, which says where something is left out."""
    known = not any(np.isnan(runs[name]).any() for runs in all_runs for name in PRETRAININGS)
    return accounting if known or accounting == "as given" else f"{accounting} that is known"


def arm_names(results: pd.DataFrame) -> pd.Series:
    """Of each cell the ladder that it is a rung of, else its row of the tables."""
    ladders = results["ladder"]
    return ladders.where(ladders.map(lambda ladder: isinstance(ladder, str)), results["row"])


def unknown_hours(results: pd.DataFrame) -> list[str]:
    """Notes that name the finished arms whose pre-training is left out, since its hours are not known."""
    done = finished(results)
    notes = []
    for column, whose in PRETRAININGS.items():
        names = list(dict.fromkeys(arm_names(done)[done[column].isna()]))
        if names:
            notes.append(
                f"all paid leaves out the pre-training of the {whose} where it is not known: {'; '.join(names)}"
            )
    return notes
