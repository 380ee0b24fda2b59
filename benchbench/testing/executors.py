"""The contract of an executor, as far as it can be checked without running anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchbench.components import Component
from benchbench.executors.base import DeviceRequest, Executor, RunSettings
from benchbench.executors.pilots import PilotExecutor, WorkOrder
from benchbench.testing.check import Call, Options, require

SETTINGS = RunSettings(Path("runs"), (), Path("data"), 30.0, None)
# By the sort of executor: the arguments of its constructor, and of the methods that it defines.
SORTS: Mapping[type, tuple[object, ...]] = {
    Executor: (None, SETTINGS),
    PilotExecutor: (WorkOrder(Path("runs"), ("suite.yaml",)),),
}
METHODS: Mapping[type, Mapping[str, tuple[object, ...]]] = {
    Executor: {"submit": ("0", []), "wait": (1.0, print), "close": ()},
    PilotExecutor: {"start": (1,), "pilots": (), "withdraw": (), "end": ([],), "cancel": (1.0,)},
}
PROPERTIES: Mapping[type, tuple[str, ...]] = {Executor: (), PilotExecutor: ("most", "demand")}
NAMES: Mapping[type, str] = {Executor: "(devices, settings)", PilotExecutor: "(order)"}


def sort_of(component: Component) -> type:
    """The base class of a component, of the two that executors have; `Executor` where it is neither."""
    target = component.load()
    return PilotExecutor if inspect.isclass(target) and issubclass(target, PilotExecutor) else Executor


def check_class(component: Component) -> None:
    """A class derived from `Executor` or `PilotExecutor`."""
    target = component.load()
    derived = inspect.isclass(target) and issubclass(target, (Executor, PilotExecutor)) and target not in SORTS
    require(
        derived,
        f"its target {component.target} is no class derived from benchbench.executors.base.Executor or "
        "benchbench.executors.pilots.PilotExecutor",
    )


def check_constructor(component: Component) -> None:
    """Built as the runner builds it."""
    sort = sort_of(component)
    try:
        inspect.signature(component.load()).bind(*SORTS[sort])
    except TypeError as error:
        raise AssertionError(f"its constructor does not take {NAMES[sort]}: {error}") from error


def check_devices(component: Component) -> None:
    """`find_devices` is defined, and takes what a run asks for."""
    target = component.load()
    own = sort_of(component) is Executor or target.find_devices.__func__ is not PilotExecutor.find_devices.__func__  # type: ignore[attr-defined]
    require(own, "it does not define find_devices()")
    try:
        inspect.signature(target.find_devices).bind(DeviceRequest())
    except TypeError as error:
        raise AssertionError(f"its find_devices() does not take (request): {error}") from error


def check_methods(component: Component) -> None:
    """Every method is defined and takes the runner's arguments."""
    sort, target = sort_of(component), component.load()
    for name in PROPERTIES[sort]:
        require(getattr(target, name) is not getattr(sort, name), f"it does not define the property {name}")
    for name, arguments in METHODS[sort].items():
        method = getattr(target, name, None)
        require(method is not None and method is not getattr(sort, name), f"it does not define {name}()")
        try:
            inspect.signature(method).bind(None, *arguments)  # type: ignore[arg-type]
        except TypeError as error:
            expected = inspect.signature(getattr(sort, name))
            raise AssertionError(f"{name}() does not take {expected}: {error}") from error


CHECKS: Mapping[str, Callable[[Component], None]] = {
    "class": check_class,
    "constructor": check_constructor,
    "devices": check_devices,
    "methods": check_methods,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of an executor, ready to run."""
    return {name: partial(check, component) for name, check in CHECKS.items()}
