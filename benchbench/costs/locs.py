"""Locations in a suite of the networks and data that stages use, for errors and estimates."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import digits

from benchbench.planning.model import Cell, Plan, corpus_label
from benchbench.suite.document import Loc

# Kinds of stages whose FLOPs are counted: they train or run networks that the suite names.
COUNTED_KINDS = ("cell", "trial", "pretraining", "teacher", "outputs")


@dataclass(frozen=True)
class StageLocs:
    """Locations of one stage's parts.

    Attributes:
        data: label of its data set.
        networks: by part of its spec: "model", "teacher0", "teacher1", ..., or "network".
        judge: the teacher that selects generated images.
        loss: of a cell or a pre-training.
    """

    data: str
    networks: dict[str, Loc] = field(default_factory=dict)
    judge: Loc | None = None
    loss: Loc | None = None


def locs_of(plan: Plan) -> dict[str, StageLocs]:
    """The locations of every stage that trains or runs a network, by key; without stages that measure its speed."""
    locs: dict[str, StageLocs] = {}
    cells, quality = [*plan.needed_cells, *plan.cells], plan.suite.quality
    if quality is not None:
        data = {plan.stages[cell.stage].needs.get("synthetic"): cell.data for cell in cells}
        networks: dict[str, Loc] = {"teacher0": ("teachers", quality.teacher, "model")}
        for key, stage in plan.stages.items():
            if stage.kind == "quality":
                _add(plan, key, StageLocs(data[stage.needs["synthetic"]], networks), locs)
    for cell in cells:
        _add(plan, cell.stage, _cell_locs(plan, cell), locs)
    return locs


def _cell_locs(plan: Plan, cell: Cell) -> StageLocs:
    networks: dict[str, Loc] = {"model": ("students", cell.student, "model")}
    networks |= {f"teacher{index}": ("teachers", teacher, "model") for index, teacher in enumerate(cell.teachers)}
    use = plan.suite.arms[cell.arm].synthetic
    judge = ("teachers", use.teacher, "model") if use is not None and use.teacher is not None else None
    return StageLocs(cell.data, networks, judge, ("arms", cell.arm, "loss"))


def _add(plan: Plan, key: str, own: StageLocs, locs: dict[str, StageLocs]) -> None:
    """Adds the locations of a stage, and of the stages that it needs."""
    locs[key] = own
    for role, needed in plan.stages[key].needs.items():
        kind = plan.stages[needed].kind
        if kind == "pretraining":
            _add(plan, needed, _pretraining_locs(plan, needed, _network_loc(role, own)), locs)
        elif kind == "trial":
            _add(plan, needed, own, locs)
        elif kind in ("teacher", "outputs"):  # a cell that another starts from has its own
            part = "network" if kind == "outputs" else "model"
            judge = None if role == "judge" else own.judge
            _add(plan, needed, StageLocs(own.data, {part: _network_loc(role, own)}, judge), locs)


def _pretraining_locs(plan: Plan, key: str, network: Loc) -> StageLocs:
    label = plan.corpora[key]
    teacher = plan.suite.pretraining[label].teacher
    networks = {"model": network} | ({"teacher0": ("teachers", teacher, "model")} if teacher else {})
    return StageLocs(corpus_label(label), networks, loss=("pretraining", label))


def _network_loc(role: str, own: StageLocs) -> Loc:
    """The network of a needed stage: the judge, the stage's own network, or the teacher of that number."""
    if role == "judge":
        assert own.judge is not None
        return own.judge
    if role in ("features", "start"):
        return own.networks["model"]
    # The outputs of a teacher need the stage that adapted it, as "teacher0".
    return own.networks.get(f"teacher{role.removeprefix(role.rstrip(digits))}") or own.networks["network"]
