"""Suites of ladders whose lines are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.reports.conftest import STUDENT, Lab

KD = {"method": "distill", "loss": {"ce": 1, "kd": 1}}
LENGTHS = {"recipe": {"epochs": [1, 10, 100]}}
ARMS = {
    "scratch": {"method": "scratch", **LENGTHS},
    "probe": {"method": "linear_probe"},
    "tune": {"method": "finetune", **LENGTHS},
    "KD": KD | LENGTHS,
}
# Percent by length, which takes as many hours: KD is 4 points behind at 10 hours, and 4 ahead at 100.
LINES = {"scratch": (30, 40, 50), "probe": (45,), "tune": (56, 60, 64), "KD": (46, 56, 68)}
SHIFTS = (-0.02, 0.0, 0.02)  # of the seeds
MEETING = 10**1.5  # hours at which KD and tune are equally good


def make_ladders(make_lab: Callable[..., Lab], arms: Mapping[str, Any] = ARMS, **changes: Any) -> Lab:
    """A suite whose teacher and pre-training have no hours yet; nothing is finished."""
    return make_lab(arms=dict(arms), **{"students": {"small": STUDENT}} | changes)


def finish(lab: Lab, lines: Mapping[str, Sequence[float]] = LINES, teacher: float = 0.0, **where: Any) -> None:
    """Finishes arms with these percents, a rung taking as many hours as its length; arms of one length take 1."""
    for key, stage in lab.plan.stages.items():
        if stage.kind == "teacher":
            lab.finish(key, hours=teacher)
    for arm, percents in lines.items():
        rungs = list(dict.fromkeys(cell.row for cell in lab.cells(arm, **where)))
        for row, percent in zip(rungs, percents, strict=True):
            for cell, shift in zip(lab.cells(arm, row=row, **where), SHIFTS, strict=False):
                epochs = lab.plan.stages[cell.stage].spec.recipe.epochs
                lab.finish(cell.stage, (percent + shift) / 100, float(epochs) if cell.ladder else 1.0)
