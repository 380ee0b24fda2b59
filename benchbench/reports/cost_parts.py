"""The stages behind a cell, sorted by the part of its cost that they are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from benchbench.planning.model import Plan
from benchbench.specs.stages import TRIAL


@dataclass(frozen=True)
class CostParts:
    """Keys of the stages that a cell needs, directly or not, each in one part.

    Attributes:
        pretraining: the pre-training that its student begins with, with all that this needs; where the suite runs it.
        teacher_pretraining: the same of its teachers; without what the student's has already.
        chain: cells whose students it goes on from, with their trials; each counts in full, since every student is
            trained anew.
        trials: that it chooses from, with its own seed; each counts in full.
        shared: all others, such as the adaptation of a teacher.
    """

    pretraining: frozenset[str]
    teacher_pretraining: frozenset[str]
    chain: frozenset[str]
    trials: frozenset[str]
    shared: frozenset[str]


def cost_parts(plan: Plan, stage: str) -> CostParts:
    """The parts of the cost of a cell.

    Args:
        plan: its plan.
        stage: key of the cell's stage.
    """
    chain, pretraining, trials = [], set[str](), _trials(plan, stage)
    start = plan.stages[stage].needs.get("start")
    while start is not None:
        if plan.stages[start].kind == "pretraining":
            pretraining = _with_needs(plan, [start])
            break
        chain += [start, *_trials(plan, start)]
        start = plan.stages[start].needs.get("start")
    everything = set(plan.dependencies(stage, own_seed=True)) - trials
    of_teachers = [key for key in everything - pretraining if plan.stages[key].kind == "pretraining"]
    teachers = _with_needs(plan, of_teachers) - pretraining
    return CostParts(
        frozenset(pretraining),
        frozenset(teachers),
        frozenset(chain),
        frozenset(trials),
        frozenset(everything - pretraining - teachers - set(chain)),
    )


def _trials(plan: Plan, stage: str) -> set[str]:
    """The trials of a cell that has its seed."""
    return {key for role, key in plan.stages[stage].needs.items() if role.startswith(TRIAL)}


def _with_needs(plan: Plan, keys: Collection[str]) -> set[str]:
    return {*keys, *(needed for key in keys for needed in plan.dependencies(key))}
