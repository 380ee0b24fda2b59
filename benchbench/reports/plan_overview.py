"""Overview of a plan, what of it is done, and what the rest will cost: as a table, for people and for notebooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchbench.costs.estimate import CostEstimate
from benchbench.costs.history import GENERATING
from benchbench.costs.prediction import predict, predicted_cells
from benchbench.errors import StoreError, one_line
from benchbench.planning.model import Plan, Stage, corpus_of
from benchbench.planning.notes import plan_notes
from benchbench.planning.test_part import finished_record, has_dropped_outputs, is_trained
from benchbench.reports.table import Entry, Table
from benchbench.specs.stages import TrainingSpec
from benchbench.store import Store

Estimates = Mapping[str, CostEstimate]
LONGEST, MOST_ROWS = 40, 12  # of labels and of arms in a brief overview


class State(NamedTuple):
    """State of a stage in the store: done, failed, started or to do; with the reason of a failure."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class PlanOverview:
    """A plan beside a store.

    Attributes:
        plan: the plan.
        states: of its stages, by key.
        hours: predicted device-hours by key, of those that train or run a network; None where nothing tells.
    """

    plan: Plan
    states: Mapping[str, State]
    hours: Mapping[str, float | None]

    @property
    def title(self) -> str:
        """The numbers of cells and stages, and the device."""
        plan, done = self.plan, sum(state.name == "done" for state in self.states.values())
        return f"{plan.suite.name}: {len(plan.cells)} cells in {len(plan.stages)} stages, {done} done; on " + (
            plan.devices.name
        )

    @property
    def axes(self) -> str:
        """Data sets, with their task where it is not classification; students and seeds."""
        suite, info = self.plan.suite, self.plan.info
        tasks = {label: info[label].task for label in suite.data}
        data = [label if task == "classification" else f"{label} ({task})" for label, task in tasks.items()]
        return f"data: {', '.join(data)}   students: {', '.join(suite.students)}   seeds: {suite.seeds}"

    @property
    def rest_hours(self) -> float | None:
        """Predicted device-hours of all that is not done; None where a prediction is missing."""
        rest = [hours for key, hours in self.hours.items() if self.states[key].name != "done"]
        known = [hours for hours in rest if hours is not None]
        return sum(known) if len(known) == len(rest) else None

    @property
    def failures(self) -> list[str]:
        """One line per failed stage."""
        states = self.states.items()
        return [f"failed: {self.plan.stages[key].label}: {state.reason}" for key, state in states if state.reason]

    def arms(self, estimates: Estimates | None = None) -> Table:
        """One row per arm.

        Args:
            estimates: images and FLOPs of the stages, to show them as well.
        """
        unit = self.plan.devices.unit
        counted = ["training images", "FLOPs", "with stages"] if estimates is not None else []
        columns = ["arm", "done", *counted, f"{unit} (predicted)", "with stages"]
        rows, cell_hours = [], predicted_cells(self.plan, self.hours)
        needs = {cell.stage: self.plan.dependencies(cell.stage) for cell in self.plan.cells}
        users = Counter(key for keys in needs.values() for key in keys)
        for row in dict.fromkeys(cell.row for cell in self.plan.cells):
            keys = [cell.stage for cell in self.plan.cells if cell.row == row]
            done = sum(self.states[key].name == "done" for key in keys)
            amounts: list[str] = []
            if estimates is not None:
                own = sum(estimates[key].flops for key in keys)
                shared = [estimates[n].flops / users[n] for key in keys for n in needs[key] if n in estimates]
                images = f"{sum(estimates[key].images for key in keys):,}"
                amounts = [images, amount(own), amount(own + sum(shared))]
            sums = [_hours([cell_hours[key][part] for key in keys]) for part in (0, 1)]
            rows.append([Entry(text) for text in (row, f"{done}/{len(keys)}", *amounts, *sums)])
        return Table("plan", self.title, columns, rows, [self.axes, *self.failures, *self.notes])

    @property
    def notes(self) -> list[str]:
        """Notes on the numbers."""
        plan, states = self.plan, self.states
        notes = [f"{corpus_of(label) or label}: {info.note}" for label, info in plan.info.items() if info.note]
        notes += plan_notes(plan)
        if any(stage.kind == "tuning" and states[key].name != "done" for key, stage in plan.stages.items()):
            notes.append("hours (?) are not known before steps have been measured; `--calibrate` does that, in minutes")
        if any(self.hours.get(key, 0.0) is None for key, stage in plan.stages.items() if stage.kind in GENERATING):
            notes.append("hours (?) of generating images are not known before some have been generated here")
        if half := _without_gpu(plan):
            notes.append(f"precision fp16 needs a GPU: {half} stages cannot train on this CPU; use bf16 or fp32")
        if len(plan.suite.seeds) < 3:
            notes.append("fewer than three seeds: the spread is hardly known")
        cells = [cell for cell in plan.cells if cell.public_start and not cell.pretraining]
        return notes + [
            f"the pre-training of {student} has no known recipe; add `pretraining:` to price it"
            for student in sorted({cell.student for cell in cells})
        ]

    def brief(self) -> str:
        """The overview in less than 2,000 characters, whatever the suite."""
        table = self.arms()
        rows = [[Entry(_cut(row[0].text)), *row[1:]] for row in table.rows[:MOST_ROWS]]
        more = [f"and {len(table.rows) - MOST_ROWS} more arms"] if len(table.rows) > MOST_ROWS else []
        hours = "not known yet" if self.rest_hours is None else f"{self.rest_hours:.3g} {self.plan.devices.unit}"
        notes = [*more, _cut(self.axes, 3 * LONGEST), f"still to run (predicted): {hours}"]
        return repr(replace(table, title=_cut(table.title, 3 * LONGEST), rows=rows, notes=notes))


def overview(plan: Plan, store: Store) -> PlanOverview:
    """A plan beside a store as it is now."""
    return PlanOverview(plan, {key: _state(stage, store) for key, stage in plan.stages.items()}, predict(plan, store))


def amount(flops: float) -> str:
    """Floating-point operations in three digits."""
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T")):
        if flops >= factor:
            return f"{flops / factor:.3g} {prefix}"
    return f"{flops / 1e9:.3g} G"


def _state(stage: Stage, store: Store) -> State:
    folder = store.stage(stage.kind, stage.key)
    try:
        if finished_record(stage, store) is not None or has_dropped_outputs(stage, store):
            return State("done")
        if is_trained(stage, store):
            return State("test again")
    except StoreError as error:
        return State("failed", str(error))
    state = folder.read_state()
    if state.status == "failed":
        return State("failed", one_line(state.reason or "") or "no reason is known")
    return State("started" if folder.checkpoint.exists() else "to do")


def _hours(predicted: list[float | None]) -> str:
    """The sum, to three significant digits; a question mark where something was not measured yet."""
    known = [hours for hours in predicted if hours is not None]
    return f"{sum(known):.3g}" if len(known) == len(predicted) else "?"


def _cut(text: str, length: int = LONGEST) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _without_gpu(plan: Plan) -> int:
    """Number of stages that cannot train here, in half precision without a GPU."""
    specs = [stage.spec for stage in plan.stages.values()] if plan.devices.kind == "cpu" else []
    return sum(isinstance(spec, TrainingSpec) and spec.recipe.precision == "fp16" for spec in specs)
