"""Every check of a plugin: of its components by their kind, of its lifecycle hooks, and of its imports."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchbench.components import Component, Offer, Registry
from benchbench.errors import BenchBenchError, PluginError, did_you_mean
from benchbench.planning.source_hash import source_hash
from benchbench.plugins import PluginHost
from benchbench.testing.check import Call, Check, CheckResult, Options, require
from benchbench.testing.imports import check_imports
from benchbench.testing.targets import Target, find_target

# One module per kind, imported when a component of that kind is checked: most of them need torch.
SUITES = {
    "teacher": "benchbench.testing.models",
    "student": "benchbench.testing.models",
    "head": "benchbench.testing.heads",
    "loss": "benchbench.testing.pairs",
    "augmenter": "benchbench.testing.augmenters",
    "dataset": "benchbench.testing.datasets",
    "executor": "benchbench.testing.executors",
    "metric": "benchbench.testing.metrics",
    "report": "benchbench.testing.reports",
    "figure": "benchbench.testing.figures",
    "template": "benchbench.testing.figures",
}


def checks_of(
    *targets: str | Path,
    params: Mapping[str, Any] | None = None,
    model: str = "",
    data: Path = Path("data"),
    plugins: Sequence[Path] = (),
) -> list[Check]:
    """Every check of some plugins, not run yet; for a loop, or for `pytest.mark.parametrize("check", ..., ids=str)`.

    Args:
        targets: plugin files, packages' folders, installed packages' names, or KIND/NAME.
        params: parameters by name; each component gets its own.
        model: the network that model sources build, where they have several.
        data: folder that data sets are downloaded to.
        plugins: further plugin files to load.

    Raises:
        BenchBenchError: a target that does not exist, does not load, or needs a parameter.
    """
    options = Options(params or {}, model, data)
    with options.reads.recording():
        parts = [find_target(str(target), plugins) for target in targets]
    _require_known(options, [offer.component for part in parts for offer in part.offers])
    return [check for part in parts for check in _checks_of_target(part, options)]


def check_component(kind: str, component: Component, **options: Any) -> list[CheckResult]:
    """The results of every check of one component; `options` as in `checks_of`: params, model, data."""
    offer = Offer(kind, component, "under test")
    return [check.run() for check in _checks_of_offer(offer, [offer], Options(**options))]


def failures(checks: Iterable[Check]) -> list[str]:
    """One line per check that failed."""
    return [str(result) for result in (check.run() for check in checks) if result.status == "failed"]


def _checks_of_target(target: Target, options: Options) -> list[Check]:
    checks = []
    for name, origin in zip(target.plugins, target.origins, strict=True):
        label = Path(name).name if name == origin else name
        checks.append(Check(f"plugin/{label}", "imports", partial(check_imports, origin, target.path)))
    for offer in target.offers:
        rivals = target.host.registry.offers[offer.kind][offer.component.name]
        checks += _checks_of_offer(offer, rivals, options)
        if offer.component.presets:
            call = partial(_check_presets, offer.component, target.host.registry)
            checks.append(Check(f"{offer.kind}/{offer.component.name}", "presets", call))
    hooks = [check for name in target.plugins for check in _checks_of_hooks(target.host, name)]
    if target.plugins and not target.offers and not hooks:
        raise PluginError(f"{target.plugins[0]} offers nothing: mark its hooks with @benchbench.hookimpl")
    return checks + hooks


def _checks_of_hooks(host: PluginHost, plugin: str) -> list[Check]:
    from benchbench.testing.lifecycle import checks

    return list(checks(host, plugin))


def _checks_of_offer(offer: Offer, rivals: Sequence[Offer], options: Options) -> list[Check]:
    """A component's checks; the general ones alone where its target does not load, since all others would fail too."""
    component = offer.component
    options.params_of(component)
    subject, module = f"{offer.kind}/{component.name}", component.target.partition(":")[0]
    calls: dict[str, Call] = {
        "name": partial(_check_name, offer, rivals),
        "loads": partial(_check_loads, component),
        "params": partial(_check_params, component, options),
    }
    try:
        with options.reads.recording():
            component.load()
    except PluginError:
        pass
    else:
        calls |= importlib.import_module(SUITES[offer.kind]).cases(component, offer.kind, options)
    return [Check(subject, name, call, module) for name, call in calls.items()]


def _check_name(offer: Offer, rivals: Sequence[Offer]) -> None:
    """The only component of its kind and name."""
    others = [rival.origin for rival in rivals if rival is not offer]
    name = f"{offer.kind} '{offer.component.name}'"
    require(not others, f"{name} is offered by {' and '.join(others)} too: rename it, or uninstall that one")


def _check_presets(component: Component, registry: Registry) -> None:
    """The losses that its presets put beside it exist; their values are checked as the component is made."""
    for preset in component.presets:
        for name in preset.beside:
            known = bool(registry.offers["loss"].get(name))
            require(known, f"preset '{preset.name}' puts '{name}' beside the loss, and no plugin offers that")


def _check_loads(component: Component) -> None:
    """Its target exists, can be called, and has a source to hash."""
    try:
        target = component.load()
    except PluginError as error:
        raise AssertionError(str(error)) from error
    require(callable(target), f"its target {component.target} is a {type(target).__name__}: name a function or a class")
    source_hash(component.target.partition(":")[0])


def _check_params(component: Component, options: Options) -> str | None:
    """Its parameters survive being written to a spec and read back; defaults keep their own limits."""
    params = options.params_of(component)
    try:
        again = type(params).model_validate(params.model_dump(mode="json"))
    except ValueError as error:
        first = " ".join(str(error).split())
        raise AssertionError(
            f"its parameters do not survive JSON, or a default breaks its own limits: {first}"
        ) from None
    require(again == params, "its parameters are others once written as JSON and read back: use plain types")
    missing = [name for name, info in type(params).model_fields.items() if not info.description]
    remarks = [] if component.summary else ["no summary for `benchbench list`"]
    remarks += [f"parameter '{missing[0]}' has no description"] if missing else []
    return "; ".join(remarks)


def _require_known(options: Options, components: Sequence[Component]) -> None:
    """A parameter that no component takes is a slip."""
    known = {name for component in components for name in component.params.model_fields}
    if any(component.params.model_config.get("extra") == "allow" for component in components):
        return
    for name in options.params:
        if name not in known:
            hint = did_you_mean(name, known) if known else "they take none"
            raise BenchBenchError(f"no component here takes a parameter '{name}'; {hint}")
