"""The number of tasks from which one pre-training, fine-tuned for each, costs less than distilling for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, Runs, groups_of
from benchbench.reports.summary import finished, hours_text, labels_of, level_of
from benchbench.reports.table import Entry, Table
from benchbench.statistics.break_even import BreakEven, Ways, break_even

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Contest:
    """One distilled arm against pre-train + fine-tune.

    Attributes:
        group, row: the arm.
        runs, reference: its cells, and those of the first arm that fine-tunes.
        level: of intervals, 0..1.
    """

    group: Group
    row: str
    runs: Runs
    reference: Runs
    level: float

    @property
    def pretraining(self) -> float:
        """Hours of the pre-training that fine-tuning starts from; NaN where they are not known."""
        return self.reference.mean("pretraining_hours")

    @property
    def teachers_pretraining(self) -> float:
        """Hours of the teachers' own; NaN where they are not known."""
        return self.runs.mean("teacher_pretraining_hours")

    def ways(self, with_teacher: bool = False) -> Ways:
        """Both in device-hours: of one task in full, with the teacher's adaptation, as if nothing else shared it."""
        teacher = self.teachers_pretraining if with_teacher else 0.0
        own = self.runs.mean("pretraining_hours")  # of an arm that distils into a pre-trained student
        return Ways(self.pretraining, task_hours(self.reference), own + teacher, task_hours(self.runs))

    def energy(self) -> Ways:
        """Both in joules, of one task in full as in `ways`; NaN where energy was not measured."""
        names = ("energy_joules", "stage_joules")
        reference, runs = (sum(each[name] for name in names) for each in (self.reference, self.runs))
        own = self.runs.mean("pretraining_joules")
        return Ways(self.reference.mean("pretraining_joules"), np.asarray(reference), own, np.asarray(runs))


def task_hours(runs: Runs) -> np.ndarray:
    """Device-hours of one task, by run [n]: its own, and the stages that it needs in full."""
    return runs["own_hours"] + runs["stage_hours"]


def contests(results: pd.DataFrame, plan: Plan) -> list[Contest]:
    """Every distilled arm that is finished beside a finished arm that fine-tunes pre-trained weights."""
    found = []
    for group in groups_of(results).values():
        reference = group[group.reference]
        for row, runs in group.rows.items():
            if runs.method == "distill" and runs.n and reference.n and reference.basis():
                found.append(Contest(group, row, runs, reference, level_of(plan)))
    return found


def break_even_table(results: pd.DataFrame, plan: Plan) -> Table | None:
    """By distilled arm, the tasks N* from which pre-training once and fine-tuning N times costs less.

    Once with the teacher's weights taken as given, once with its pre-training paid too. None for a suite without both
    sides, or where the hours of the pre-training are not known.
    """
    found = contests(results, plan)
    if not found:
        return None
    labels = labels_of(results, "data", "student")
    energies = [break_even(each.energy(), each.level) for each in found]
    with_energy = any(not math.isnan(each.tasks) for each in energies)
    rows = []
    for contest, energy in zip(found, energies, strict=True):
        texts = [contest.row, *_texts(contest), *([tasks_text(energy)] if with_energy else [])]
        pair = (contest.group.data, contest.group.student) if labels else ()
        rows.append([Entry(text) for text in (*pair, *texts, f"{contest.runs.n} / {contest.reference.n}")])
    columns = [*labels, "arm", "pre-train once", "fine-tune a task", "distil a task", "pre-training pays from"]
    columns += ["with the teacher's pre-training", *(["in energy"] if with_energy else []), "n"]
    title = f"Tasks from which one pre-training costs less than distillation, in {plan.suite.name}"
    return Table("break_even", title, columns, rows, _notes(results, plan, found), len(labels) + 1)


def _texts(contest: Contest) -> list[str]:
    basis = contest.reference.basis()
    with_teacher = break_even(contest.ways(with_teacher=True), contest.level)
    return [
        f"{hours_text(contest.pretraining)} ({basis})",
        hours_text(float(task_hours(contest.reference).mean())),
        hours_text(float(task_hours(contest.runs).mean())),
        tasks_text(break_even(contest.ways(), contest.level)),
        tasks_text(with_teacher),
    ]


def tasks_text(result: BreakEven) -> str:
    """N* with its interval in words: `12.3 tasks [8.1, 30.2]`, `never`, or that it pays from the first task."""
    if math.isnan(result.tasks):
        return "n/a"
    low, high = _number(result.low), _number(result.high)
    interval = "" if math.isnan(result.low) else f" [{low}, {high}]"
    if not result.first_later:
        if math.isinf(result.tasks):
            return f"from the first task{interval and f' (distillation: never {interval.strip()})'}"
        return f"for fewer than {_number(result.tasks)} tasks{interval}; then distillation does"
    if math.isinf(result.tasks):
        return f"never{interval}"
    if result.tasks == 0 and not math.isinf(result.high):  # of equal fixed costs, and [0, 0] says nothing
        return "the first task"
    if result.tasks < 1:
        return f"the first task ({_number(result.tasks)}{interval})"
    return f"{_number(result.tasks)} tasks{interval}"


def _number(tasks: float) -> str:
    return "never" if math.isinf(tasks) else hours_text(tasks)


def _notes(results: pd.DataFrame, plan: Plan, found: list[Contest]) -> list[str]:
    units = " or ".join(sorted(finished(results).unit.unique()))
    notes = [
        f"in {units}; a task: its own training and the stages that it needs in full, such as the teacher's adaptation; "
        "fine-tune: the first arm that fine-tunes",
        "pre-training pays from N* = (pre-train once - what distillation pays once) / (distil a task - fine-tune a "
        f"task); in brackets its {100 * level_of(plan):g} % interval, from the spread of a task over seeds (Welch's "
        "t); never: a task costs no more by distillation, and so pre-training is never made up for",
        "with the teacher's pre-training: distillation pays it once; n/a: it is not known (`price_teachers: true` "
        "estimates it); n: runs of the arm / of fine-tuning",
    ]
    price = plan.suite.factors.price
    if price is not None:
        currency = plan.suite.factors.currency
        costs = dict.fromkeys(f"{price * each.pretraining:,.4g} {currency}" for each in found)
        notes.append(f"in money N* is the same, for device-hours have one price; one pre-training: {', '.join(costs)}")
    return notes
