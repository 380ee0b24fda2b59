"""Plans, components and plugins as text and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tabulate import tabulate

from benchbench.components import KINDS, Offer
from benchbench.costs.estimate import CostEstimate
from benchbench.costs.experience import GENERATING
from benchbench.costs.prediction import predict, predicted_cells
from benchbench.errors import StoreError, one_line
from benchbench.plan.model import PRETRAINED_METHODS, Plan, Stage
from benchbench.plugins import PluginHost
from benchbench.store import Store


def plan_json(plan: Plan, store: Store, costs: dict[str, CostEstimate]) -> dict[str, Any]:
    """A plan for a program: its key, cells and stages."""
    hours = predict(plan, store)
    return {
        "suite": plan.suite.name,
        "key": plan.key,
        "device": plan.devices.name,
        "cells": [
            {"arm": cell.row, "data": cell.data, "student": cell.student, "seed": cell.seed, "stage": cell.stage}
            for cell in plan.cells
        ],
        "stages": [
            {
                "kind": stage.kind,
                "key": key,
                "label": stage.label,
                "state": _state(stage, store)[0],
                "reason": _state(stage, store)[1] or None,
                "needs": list(stage.needs.values()),
                "images": costs[key].images if key in costs else None,
                "flops": costs[key].flops if key in costs else None,
                "predicted_hours": hours.get(key),
            }
            for key, stage in plan.stages.items()
        ],
        "notes": _notes(plan, store, hours),
    }


def plan_text(plan: Plan, store: Store, costs: dict[str, CostEstimate], show_all: bool) -> str:
    """A plan for a person: the grid, what is done, and what each arm costs."""
    suite, hours = plan.suite, predict(plan, store)
    states = {key: _state(stage, store) for key, stage in plan.stages.items()}
    done = sum(state == "done" for state, _ in states.values())
    lines = [
        f"{suite.name}: {len(plan.cells)} cells in {len(plan.stages)} stages, {done} done; on {plan.devices.name}",
        f"data: {', '.join(suite.data)}   students: {', '.join(suite.students)}   seeds: {suite.seeds}",
        "",
        _arms(plan, hours, states, costs),
        "",
    ]
    shared = [stage for stage in plan.stages.values() if stage.kind != "cell"]
    shown = list(plan.stages.values()) if show_all else shared
    if shown:
        rows = []
        for stage in shown:
            cost = costs.get(stage.key)
            amounts = [f"{cost.images:,}", _amount(cost.flops)] if cost else ["", ""]
            rows.append([stage.kind, stage.label, stage.key[:16], states[stage.key][0], *amounts])
        headers = ["stage", "what", "key", "state", "images", "FLOPs"]
        lines += [tabulate(rows, headers, colalign=("left",) * 4 + ("right",) * 2, disable_numparse=True), ""]
    lines += [
        f"failed: {plan.stages[key].label}: {reason}" for key, (state, reason) in states.items() if state == "failed"
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in _notes(plan, store, hours))]).rstrip()


def _arms(
    plan: Plan,
    predicted: dict[str, float | None],
    states: dict[str, tuple[str, str]],
    costs: dict[str, CostEstimate],
) -> str:
    rows, hours = [], predicted_cells(plan, predicted)
    stands_on = {cell.stage: plan.foundations(cell.stage) for cell in plan.cells}
    users = Counter(key for cell in plan.cells for key in stands_on[cell.stage])
    for row in dict.fromkeys(cell.row for cell in plan.cells):
        keys = [cell.stage for cell in plan.cells if cell.row == row]
        own = sum(costs[key].flops for key in keys)
        whole = own + sum(costs[need].flops / users[need] for key in keys for need in stands_on[key] if need in costs)
        done = sum(states[key][0] == "done" for key in keys)
        images = f"{sum(costs[key].images for key in keys):,}"
        sums = [_hours([hours[key][part] for key in keys]) for part in (0, 1)]
        rows.append([row, f"{done}/{len(keys)}", images, _amount(own), _amount(whole), *sums])
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


def _state(stage: Stage, store: Store) -> tuple[str, str]:
    folder = store.stage(stage.kind, stage.key)
    try:
        if folder.done() is not None:
            return "done", ""
    except StoreError as error:
        return "failed", str(error)
    state = folder.read_state()
    if state.get("status") == "failed":
        return "failed", one_line(str(state.get("reason", "")))
    return ("started" if folder.checkpoint.exists() else "to do"), ""


def _notes(plan: Plan, store: Store, hours: dict[str, float | None]) -> list[str]:
    notes = [f"{label}: {info.note}" for label, info in plan.info.items() if info.note]
    if any(stage.kind == "tuning" and _state(stage, store)[0] != "done" for stage in plan.stages.values()):
        notes.append("hours (?) are not known before steps have been measured; `--calibrate` does that, in minutes")
    if any(hours.get(key, 0.0) is None for key, stage in plan.stages.items() if stage.kind in GENERATING):
        notes.append("hours (?) of generating images are not known before some have been generated here")
    if len(plan.suite.seeds) < 3:
        notes.append("fewer than three seeds: the spread says little")
    unpriced = {cell.student for cell in plan.cells if cell.method in PRETRAINED_METHODS and not cell.pretraining}
    notes += [f"the pre-training of {s} has no known recipe; add `pretraining:` to price it" for s in sorted(unpriced)]
    return notes


def components_json(host: PluginHost, kind: str | None) -> list[dict[str, Any]]:
    """Components for a program."""
    return [
        {
            "kind": offer.kind,
            "name": offer.component.name,
            "summary": offer.component.summary,
            "origin": offer.origin,
            "needs": sorted(offer.component.needs),
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
        shown = _field(field)
        default = "required" if shown["required"] else f"default {shown['default']}"
        about = f"  {one_line(field.description)}" if field.description else ""
        lines.append(f"    {name}: {shown['type']}, {default}{about}")
    return lines


def _field(field: Any) -> dict[str, Any]:
    kind = getattr(field.annotation, "__name__", None)
    text = kind if kind and not getattr(field.annotation, "__args__", None) else str(field.annotation)
    text = text.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None")
    required = field.is_required()
    return {"type": text, "required": required, "default": None if required else _jsonable(field.default)}


def _jsonable(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def plugins_json(host: PluginHost) -> list[dict[str, Any]]:
    """Plugins for a program; `error` is null for those that loaded."""
    offers: dict[str, list[str]] = {origin: [] for origin in host.origins.values()}
    for kind in KINDS:
        for offer in host.registry.of_kind(kind):
            offers[offer.origin].append(f"{kind}/{offer.component.name}")
    loaded: list[dict[str, Any]] = [
        {"plugin": name, "origin": origin, "error": None} for name, origin in host.origins.items()
    ]
    for entry in loaded:
        if entry["origin"] != "benchbench":
            entry["offers"] = offers[entry["origin"]]
    return loaded + [{"plugin": name, "origin": name, "error": reason} for name, reason in host.failed.items()]


def plugins_text(host: PluginHost) -> str:
    """Plugins for a person."""
    lines = []
    for entry in plugins_json(host):
        if entry["error"]:
            lines.append(f"{entry['plugin']}  DID NOT LOAD: {entry['error']}")
        else:
            offered = f"  offers {', '.join(entry['offers'])}" if entry.get("offers") else ""
            lines.append(f"{entry['plugin']}  [{entry['origin']}]{offered}")
    return "\n".join(lines)
