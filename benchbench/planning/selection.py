"""Choice of a part of the grid: `--only arm=KD,seed=0` and `--skip data=10 %`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchbench.errors import BenchBenchError, did_you_mean, quoted
from benchbench.planning.model import Cell, Plan

# What a choice may name, and the labels that a cell has of it.
AXES: dict[str, Callable[[Cell], tuple[str, ...]]] = {
    "arm": lambda cell: (cell.arm, cell.row),
    "data": lambda cell: (cell.data,),
    "method": lambda cell: (cell.method,),
    "seed": lambda cell: (str(cell.seed),),
    "state": lambda cell: (cell.state,) if cell.state else (),
    "student": lambda cell: (cell.student,),
    "teacher": lambda cell: cell.teachers,
}


def chosen_part(plan: Plan, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Plan:
    """A plan of some cells, with the stages that those need; the plan itself where nothing is chosen.

    Args:
        plan: the whole grid.
        only: choices, of which a cell fits one; each is AXIS=LABEL, or several with commas, which all have to fit.
        skip: choices, of which it fits none.

    Raises:
        BenchBenchError: a choice names no axis, or a label that no cell has; or no cell is left.
    """
    if not only and not skip:
        return plan
    wanted = [_parsed(text, plan, "--only") for text in only]
    unwanted = [_parsed(text, plan, "--skip") for text in skip]
    cells = [
        cell
        for cell in plan.cells
        if (not wanted or any(_fits(cell, choice) for choice in wanted))
        and not any(_fits(cell, choice) for choice in unwanted)
    ]
    if not cells:
        given = [f"--only {quoted(text)}" for text in only] + [f"--skip {quoted(text)}" for text in skip]
        raise BenchBenchError(f"{' '.join(given)} leaves none of {len(plan.cells)} cells")
    trained = {key for cell in cells for key in (cell.stage, *(trial.stage for trial in cell.trials))}
    measured = {cell.calibration for cell in cells} | {key for cell in cells for _, key in cell.teacher_pretraining}
    needed = trained | {key for key in measured if key is not None}
    needed |= {key for stage in list(needed) for key in plan.dependencies(stage)}
    stages = {key: stage for key, stage in plan.stages.items() if key in needed}
    others = needed - {cell.stage for cell in cells}
    needed_cells = [cell for cell in plan.cells if cell.stage in others]
    return replace(plan, cells=cells, stages=stages, needed_cells=needed_cells)


def _parsed(text: str, plan: Plan, option: str) -> dict[str, str]:
    """Labels by axis.

    Raises:
        BenchBenchError: it is not of that form, or names an axis twice.
    """
    choice = {}
    for part in re.split(r",(?=\s*\w+\s*=)", text):  # a row has commas of its own
        axis, equals, label = (each.strip() for each in part.partition("="))
        if not equals or not label:
            raise BenchBenchError(f"{option} {quoted(text)}: write AXIS=LABEL, as in {option} arm=KD,seed=0")
        if axis not in AXES:
            raise BenchBenchError(
                f"{option} {quoted(text)}: there is no axis '{quoted(axis)}'; {did_you_mean(axis, AXES)}"
            )
        if axis in choice:
            remedy = f"repeat the option: {option} {axis}=A {option} {axis}=B"
            raise BenchBenchError(f"{option} {quoted(text)} names '{axis}' twice; {remedy}")
        labels = {each for cell in plan.cells for each in AXES[axis](cell)}
        if label not in labels:
            hint = did_you_mean(label, labels)
            raise BenchBenchError(f"{option} {quoted(text)}: no cell has {axis} '{quoted(label)}'; {hint}")
        choice[axis] = label
    return choice


def _fits(cell: Cell, choice: dict[str, str]) -> bool:
    return all(label in AXES[axis](cell) for axis, label in choice.items())
