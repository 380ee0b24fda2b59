"""The contract of an executor, as far as it can be checked without running anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchbench.components import Component
from benchbench.executors.base import DeviceRequest, Executor, RunSettings
from benchbench.testing.check import Call, Options, require

SETTINGS = RunSettings(Path("runs"), (), Path("data"), 30.0, None)
METHODS: Mapping[str, tuple[object, ...]] = {"submit": ("0", []), "wait": (1.0, print), "close": ()}


def check_class(component: Component) -> None:
    """A class derived from `Executor`."""
    target = component.load()
    derived = inspect.isclass(target) and issubclass(target, Executor) and target is not Executor
    require(derived, f"its target {component.target} is no class derived from benchbench.executors.base.Executor")


def check_constructor(component: Component) -> None:
    """Built as the runner builds it."""
    try:
        inspect.signature(component.load()).bind(None, SETTINGS, 0)
    except TypeError as error:
        raise AssertionError(f"its constructor does not take (devices, settings, lock): {error}") from error


def check_devices(component: Component) -> None:
    """`find_devices` takes what a run asks for."""
    try:
        inspect.signature(component.load().find_devices).bind(DeviceRequest())
    except TypeError as error:
        raise AssertionError(f"its find_devices() does not take (request): {error}") from error


def check_methods(component: Component) -> None:
    """Every method is defined and takes the runner's arguments."""
    for name, arguments in METHODS.items():
        method = getattr(component.load(), name, None)
        require(method is not None and method is not getattr(Executor, name), f"it does not define {name}()")
        try:
            inspect.signature(method).bind(None, *arguments)  # type: ignore[arg-type]
        except TypeError as error:
            expected = inspect.signature(getattr(Executor, name))
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
