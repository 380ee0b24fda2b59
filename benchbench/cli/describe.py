"""Plans, components and plugins as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue
from pydantic.fields import FieldInfo
from tabulate import tabulate

from benchbench.components import KINDS, Offer
from benchbench.costs.estimate import CostEstimate
from benchbench.costs.history import GENERATING
from benchbench.costs.prediction import predict, predicted_cells
from benchbench.errors import StoreError, one_line
from benchbench.planning.model import PRETRAINED_METHODS, Cell, Plan, Stage
from benchbench.plugins import PluginHost
from benchbench.specs.parts import Json
from benchbench.store import KEY_LENGTH, Store

Estimates = Mapping[str, CostEstimate]
Hours = Mapping[str, float | None]


class State(NamedTuple):
    """State of a stage in the store: done, failed, started or to do; with the reason of a failure."""

    name: str
    reason: str = ""


def plan_json(plan: Plan, store: Store, estimates: Estimates) -> Json:
    """A plan for a program: its key, cells and stages."""
    hours, states = predict(plan, store), _states(plan, store)
    return {
        "suite": plan.suite.name,
        "key": plan.key,
        "device": plan.devices.name,
        "cells": [_cell_json(cell) for cell in plan.cells],
        "stages": [
            {
                "kind": stage.kind,
                "key": key,
                "label": stage.label,
                "state": states[key].name,
                "reason": states[key].reason or None,
                "needs": list(stage.needs.values()),
                "images": estimates[key].images if key in estimates else None,
                "flops": estimates[key].flops if key in estimates else None,
                "predicted_hours": hours.get(key),
            }
            for key, stage in plan.stages.items()
        ],
        "notes": list(_notes(plan, states, hours)),
    }


def _cell_json(cell: Cell) -> JsonValue:
    return {"arm": cell.row, "data": cell.data, "student": cell.student, "seed": cell.seed, "stage": cell.stage}


def plan_text(plan: Plan, store: Store, estimates: Estimates, show_all: bool) -> str:
    """A plan for a person: the grid, what is done, and what each arm costs."""
    suite, hours, states = plan.suite, predict(plan, store), _states(plan, store)
    done = sum(state.name == "done" for state in states.values())
    lines = [
        f"{suite.name}: {len(plan.cells)} cells in {len(plan.stages)} stages, {done} done; on {plan.devices.name}",
        f"data: {', '.join(suite.data)}   students: {', '.join(suite.students)}   seeds: {suite.seeds}",
        "",
        _arms(plan, hours, states, estimates),
        "",
    ]
    stages = [stage for stage in plan.stages.values() if show_all or stage.kind != "cell"]
    if stages:
        lines += [_stages(stages, states, estimates), ""]
    lines += [f"failed: {plan.stages[key].label}: {state.reason}" for key, state in states.items() if state.reason]
    return "\n".join([*lines, *(f"note: {note}" for note in _notes(plan, states, hours))]).rstrip()


def _stages(stages: list[Stage], states: Mapping[str, State], estimates: Estimates) -> str:
    rows = []
    for stage in stages:
        estimate = estimates.get(stage.key)
        amounts = [f"{estimate.images:,}", _amount(estimate.flops)] if estimate else ["", ""]
        rows.append([stage.kind, stage.label, stage.key[:KEY_LENGTH], states[stage.key].name, *amounts])
    headers = ["kind", "stage", "key", "state", "images", "FLOPs"]
    return tabulate(rows, headers, colalign=("left",) * 4 + ("right",) * 2, disable_numparse=True)


def _arms(plan: Plan, hours: Hours, states: Mapping[str, State], estimates: Estimates) -> str:
    rows, cell_hours = [], predicted_cells(plan, hours)
    dependencies = {cell.stage: plan.dependencies(cell.stage) for cell in plan.cells}
    users = Counter(key for cell in plan.cells for key in dependencies[cell.stage])
    for row in dict.fromkeys(cell.row for cell in plan.cells):
        keys = [cell.stage for cell in plan.cells if cell.row == row]
        own = sum(estimates[key].flops for key in keys)
        shared = sum(
            estimates[need].flops / users[need] for key in keys for need in dependencies[key] if need in estimates
        )
        done = sum(states[key].name == "done" for key in keys)
        images = f"{sum(estimates[key].images for key in keys):,}"
        sums = [_hours([cell_hours[key][part] for key in keys]) for part in (0, 1)]
        rows.append([row, f"{done}/{len(keys)}", images, _amount(own), _amount(own + shared), *sums])
    unit = plan.devices.unit
    headers = ["arm", "done", "training images", "FLOPs", "with stages", f"{unit} (predicted)", "with stages"]
    return tabulate(rows, headers, colalign=("left",) + ("right",) * 6, disable_numparse=True)


def _hours(predicted: list[float | None]) -> str:
    """The sum, to three significant digits; a question mark where something was not measured yet."""
    known = [hours for hours in predicted if hours is not None]
    return f"{sum(known):.3g}" if len(known) == len(predicted) else "?"


def _amount(flops: float) -> str:
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T")):
        if flops >= factor:
            return f"{flops / factor:.3g} {prefix}"
    return f"{flops / 1e9:.3g} G"


def _states(plan: Plan, store: Store) -> dict[str, State]:
    return {key: _state(stage, store) for key, stage in plan.stages.items()}


def _state(stage: Stage, store: Store) -> State:
    folder = store.stage(stage.kind, stage.key)
    try:
        if folder.done() is not None:
            return State("done")
    except StoreError as error:
        return State("failed", str(error))
    state = folder.read_state()
    if state.status == "failed":
        return State("failed", one_line(state.reason or "") or "no reason is known")
    return State("started" if folder.checkpoint.exists() else "to do")


def _notes(plan: Plan, states: Mapping[str, State], hours: Hours) -> list[str]:
    notes = [f"{label}: {info.note}" for label, info in plan.info.items() if info.note]
    if any(stage.kind == "tuning" and states[key].name != "done" for key, stage in plan.stages.items()):
        notes.append("hours (?) are not known before steps have been measured; `--calibrate` does that, in minutes")
    if any(hours.get(key, 0.0) is None for key, stage in plan.stages.items() if stage.kind in GENERATING):
        notes.append("hours (?) of generating images are not known before some have been generated here")
    if len(plan.suite.seeds) < 3:
        notes.append("fewer than three seeds: the spread is hardly known")
    unpriced = {cell.student for cell in plan.cells if cell.method in PRETRAINED_METHODS and not cell.pretraining}
    notes += [f"the pre-training of {s} has no known recipe; add `pretraining:` to price it" for s in sorted(unpriced)]
    return notes


def components_json(host: PluginHost, kind: str | None) -> list[Json]:
    """Components for a program."""
    return [
        {
            "kind": offer.kind,
            "name": offer.component.name,
            "summary": offer.component.summary,
            "origin": offer.origin,
            "needs": [*sorted(offer.component.needs)],
            "params": {name: _field(field) for name, field in offer.component.params.model_fields.items()},
        }
        for each in ([kind] if kind else KINDS)
        for offer in host.registry.of_kind(each)
    ]


def components_text(host: PluginHost, kind: str | None) -> str:
    """Components for a person: name, summary, parameters with defaults, origin."""
    lines = []
    for each in [kind] if kind else KINDS:
        lines.append(f"{each}s:" if each != "loss" else "losses:")
        for offer in host.registry.of_kind(each):
            lines += _component_lines(offer)
        lines.append("")
    lines += [f"did not load: {name}: {reason}" for name, reason in host.failed.items()]
    return "\n".join(lines).rstrip()


def _component_lines(offer: Offer) -> list[str]:
    component = offer.component
    lines = [f"  {component.name:<20} {one_line(component.summary)}  [{offer.origin}]"]
    for name, field in component.params.model_fields.items():
        parameter = _field(field)
        default = "required" if parameter["required"] else f"default {parameter['default']}"
        about = f"  {one_line(field.description)}" if field.description else ""
        lines.append(f"    {name}: {parameter['type']}, {default}{about}")
    return lines


def _field(field: FieldInfo) -> Json:
    kind = getattr(field.annotation, "__name__", None)
    text = kind if kind and not getattr(field.annotation, "__args__", None) else str(field.annotation)
    text = text.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None")
    required = field.is_required()
    return {"type": text, "required": required, "default": None if required else _jsonable(field.default)}


def _jsonable(value: object) -> JsonValue:
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def plugins_json(host: PluginHost) -> list[Json]:
    """Plugins for a program; `error` is null for those that loaded."""
    plugins: list[Json] = [{"plugin": name, "origin": origin, "error": None} for name, origin in host.origins.items()]
    for plugin in plugins:
        if plugin["origin"] != "benchbench":
            plugin["offers"] = [*_offers(host, str(plugin["origin"]))]
    return plugins + [{"plugin": name, "origin": name, "error": reason} for name, reason in host.failed.items()]


def plugins_text(host: PluginHost) -> str:
    """Plugins for a person."""
    lines = []
    for name, origin in host.origins.items():
        offers = "" if origin == "benchbench" else ", ".join(_offers(host, origin))
        lines.append(f"{name}  [{origin}]{'  offers ' if offers else ''}{offers}")
    lines += [f"{name}  DID NOT LOAD: {reason}" for name, reason in host.failed.items()]
    return "\n".join(lines)


def _offers(host: PluginHost, origin: str) -> list[str]:
    """Components of an origin, as "kind/name"."""
    every = [(kind, offer) for kind in KINDS for offer in host.registry.of_kind(kind)]
    return [f"{kind}/{offer.component.name}" for kind, offer in every if offer.origin == origin]
