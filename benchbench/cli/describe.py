"""Plans, components and plugins as text and as JSON."""

from __future__ import annotations

from pydantic import JsonValue
from pydantic.fields import FieldInfo
from tabulate import tabulate

from benchbench.components import KINDS, Component, Offer
from benchbench.errors import one_line, printable, visible
from benchbench.executors.stage_progress import duration
from benchbench.experiment import Experiment
from benchbench.planning.model import Cell, Plan, Stage
from benchbench.plugins import PluginHost
from benchbench.reports.plan_overview import Estimates, PlanOverview, amount, overview
from benchbench.reports.table import Entry, Table
from benchbench.running.simulation import SimulatedRun, simulate_plan
from benchbench.specs.parts import Json
from benchbench.store import KEY_LENGTH, Store
from benchbench.suite.type_words import type_in_words


def plan_json(plan: Plan, store: Store, estimates: Estimates) -> Json:
    """A plan for a program: its key, cells and stages."""
    shown = overview(plan, store)
    return {
        "suite": plan.suite.name,
        "key": plan.key,
        "task": next(plan.info[label].task for label in plan.suite.data),
        "device": plan.devices.name,
        "cells": [_cell_json(cell) for cell in plan.cells],
        "stages": [
            {
                "kind": stage.kind,
                "key": key,
                "label": stage.label,
                "devices": stage.devices,
                "state": shown.states[key].name,
                "reason": shown.states[key].reason or None,
                "needs": list(stage.needs.values()),
                "images": estimates[key].images if key in estimates else None,
                "flops": estimates[key].flops if key in estimates else None,
                "predicted_hours": shown.hours.get(key),
            }
            for key, stage in plan.stages.items()
        ],
        "notes": list(shown.notes),
    }


def _cell_json(cell: Cell) -> JsonValue:
    return {"arm": cell.row, "data": cell.data, "student": cell.student, "seed": cell.seed, "stage": cell.stage}


def plan_text(plan: Plan, store: Store, estimates: Estimates, show_all: bool) -> str:
    """A plan for a person: the grid, what is done, and what each arm costs."""
    shown = overview(plan, store)
    lines = [shown.title, shown.axes, "", _grid(shown.arms(estimates)), ""]
    stages = [stage for stage in plan.stages.values() if show_all or stage.kind not in ("cell", "trial")]
    if stages:
        lines += [_grid(_stages(stages, shown, estimates)), ""]
    lines += [*shown.failures, *(f"note: {note}" for note in shown.notes)]
    return visible("\n".join(lines)).rstrip()


def times_text(experiment: Experiment, more: bool) -> str:
    """The time that is left on the slots at hand in a sentence; with `more`, on 1 to 1,024 in a table."""
    plan, store = experiment.plan, experiment.store
    runs, own = simulate_plan(plan, store, experiment.overview().hours, more), len(plan.devices.slots)
    if not runs:
        return ""
    price = plan.suite.factors.price
    if not more:
        (run,) = runs
        at_least = f", at least {duration(3600 * run.bound)}" if run.bound < 0.95 * run.hours else ""
        paid = f", and {_paid(run, plan, price)}" if price else ""
        return f"time: {duration(3600 * run.hours)} on {own} slot{'s' * (own > 1)} (predicted{at_least}{paid})"
    rows = []
    for run in runs:
        texts = [f"{run.slots:,}", duration(3600 * run.hours), duration(3600 * run.bound), f"{run.busy:.0%}"]
        texts += [_paid(run, plan, price)] if price else []
        rows.append([Entry(text) for text in texts])
    columns = ["slots", "time (predicted)", "at least", "busy", *(["price"] if price else [])]
    return "\n" + _grid(Table("times", "Times", columns, rows, labels=1))


def _paid(run: SimulatedRun, plan: Plan, price: float) -> str:
    """Price of the slots, held from the first start to the last end."""
    return f"{run.slots * run.hours * plan.devices.num_devices * price:,.2f} {plan.suite.factors.currency}"


def _stages(stages: list[Stage], shown: PlanOverview, estimates: Estimates) -> Table:
    rows = []
    for stage in stages:
        estimate = estimates.get(stage.key)
        amounts = [f"{estimate.images:,}", amount(estimate.flops)] if estimate else ["", ""]
        label = stage.label if stage.devices == 1 else f"{stage.label} ({stage.devices} devices)"
        texts = [stage.kind, label, stage.key[:KEY_LENGTH], shown.states[stage.key].name, *amounts]
        rows.append([Entry(text) for text in texts])
    return Table("stages", "Stages", ["kind", "stage", "key", "state", "images", "FLOPs"], rows, labels=4)


def _grid(table: Table) -> str:
    """A table without its title and notes."""
    rows = [[printable(entry.text) for entry in row] for row in table.rows]
    return tabulate(rows, table.columns, colalign=table.aligned(), disable_numparse=True)


def components_json(host: PluginHost, kind: str | None) -> list[Json]:
    """Components for a program."""
    return [
        {
            "kind": offer.kind,
            "name": offer.component.name,
            "summary": offer.component.summary,
            "origin": offer.origin,
            "needs": [*sorted(offer.component.needs)],
            **(_loss_json(offer.component) if each == "loss" else {}),
            "params": {name: _field(field) for name, field in offer.component.params.model_fields.items()},
        }
        for each in ([kind] if kind else KINDS)
        for offer in host.registry.of_kind(each)
    ]


def _loss_json(component: Component) -> Json:
    presets: JsonValue = {
        preset.name: {
            "source": preset.source,
            "weight": preset.weight,
            "params": {**preset.params},
            "beside": {**preset.beside},
        }
        for preset in component.presets
    }
    optional: JsonValue = {name: [*sorted(needs)] for name, needs in component.optional.items()}
    reads = component.reads_by_parameters
    return {"venue": component.venue or None, "reads": reads, "optional": optional, "presets": presets}


def components_text(host: PluginHost, kind: str | None) -> str:
    """Components for a person: name, summary, parameters with defaults, origin."""
    lines = []
    for each in [kind] if kind else KINDS:
        lines.append(f"{each}s:" if each != "loss" else "losses:")
        for offer in host.registry.of_kind(each):
            lines += _component_lines(offer)
        lines.append("")
    lines += [f"did not load: {name}: {reason}" for name, reason in host.failed.items()]
    return visible("\n".join(lines)).rstrip()


def _component_lines(offer: Offer) -> list[str]:
    component = offer.component
    lines = [f"  {component.name:<20} {one_line(component.summary)}  [{offer.origin}]"]
    if offer.kind == "loss":
        facts = [component.venue, f"reads {component.reads_by_parameters}"]
        facts += [f"presets: {', '.join(preset.name for preset in component.presets)}"] if component.presets else []
        lines.append(f"    {one_line('; '.join(fact for fact in facts if fact))}")
    for name, field in component.params.model_fields.items():
        parameter = _field(field)
        default = "required" if parameter["required"] else f"default {_yaml(parameter['default'])}"
        about = f"  {one_line(field.description)}" if field.description else ""
        lines.append(f"    {name}: {parameter['type']}, {default}{about}")
    return lines


def _field(field: FieldInfo) -> Json:
    required, text = field.is_required(), type_in_words(field.annotation).replace("`", "")
    return {"type": text, "required": required, "default": None if required else _jsonable(field.default)}


def _yaml(value: JsonValue) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


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
    return visible("\n".join(lines))


def _offers(host: PluginHost, origin: str) -> list[str]:
    """Components of an origin, as "kind/name"."""
    every = [(kind, offer) for kind in KINDS for offer in host.registry.of_kind(kind)]
    return [f"{kind}/{offer.component.name}" for kind, offer in every if offer.origin == origin]
