"""The executor that a suite or a command names, with its parameters checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.components import NO_PARAMS, Component, Params, Registry
from benchbench.errors import BenchBenchError, SuiteError, quoted
from benchbench.executors.base import DeviceRequest
from benchbench.planning.expand import make_plan
from benchbench.planning.model import Plan
from benchbench.planning.resolve import Resolver
from benchbench.plugins import PluginHost
from benchbench.suite.document import Override
from benchbench.suite.dotted import join_key, split_setting
from benchbench.suite.file import SuiteFile
from benchbench.suite.yaml_text import parse_value

DEFAULT, OPTION = "local", "--executor-set"


@dataclass(frozen=True)
class ExecutorChoice:
    """An executor with its parameters, which are part of no key."""

    component: Component
    params: Params = NO_PARAMS

    @property
    def name(self) -> str:
        return self.component.name


def choose_executor(file: SuiteFile, registry: Registry) -> ExecutorChoice:
    """The executor of a suite; the local one where it names none.

    Raises:
        SuiteError: there is no such executor, or a parameter is unknown or wrong; with its line or option.
    """
    ref = file.suite.executor
    if ref is None:
        return ExecutorChoice(registry.get("executor", DEFAULT))
    resolver, loc = Resolver(file, registry), ("executor", ref.name)
    component = resolver.component("executor", ref.name, loc)
    return ExecutorChoice(component, resolver.params(component, ref.params, loc))


def plan_for_executor(
    file: SuiteFile, host: PluginHost, data_root: Path, asked: DeviceRequest
) -> tuple[Plan, ExecutorChoice]:
    """The plan of a suite on the devices that its executor finds, and that executor."""
    choice = choose_executor(file, host.registry)
    devices = choice.component.load().find_devices(replace(asked, params=choice.params))
    return make_plan(file, host.registry, devices, data_root), choice


def with_executor(file: SuiteFile, executor: str | Mapping[str, Any] | None, settings: Sequence[str] = ()) -> SuiteFile:
    """A suite with another executor, or with other parameters of its own.

    Args:
        file: the suite.
        executor: a name, which keeps the suite's parameters where it is the suite's; a name with parameters, as in
            `{"slurm": {"partition": "gpu"}}`; None for the suite's own.
        settings: parameters, `KEY=VALUE` each with the value in YAML.

    Raises:
        BenchBenchError: a setting that is none, or a value that cannot be.
    """
    own = file.suite.executor
    name = own.name if own else None
    changes: list[str | Override] = []
    if isinstance(executor, Mapping):
        name = next(iter(executor), None)
        changes.append(Override("executor", dict(executor), shown="executor"))
    elif executor is not None and executor != name:
        name = executor
        changes.append(Override("executor", {executor: {}}, shown=f"executor {quoted(executor)}"))
    elif own and settings and not own.params:  # it may be a name alone
        changes.append(Override("executor", {own.name: {}}, shown="executor"))
    return file.replace([*changes, *_settings(name, settings)]) if changes or settings else file


def _settings(name: str | None, settings: Sequence[str]) -> Iterator[Override]:
    """Changes of an executor's parameters."""
    for text in settings:
        key, value = split_setting(text)
        place = f"{OPTION} {quoted(key)}"
        if name is None:
            raise BenchBenchError(f"{place}: the suite names no executor; add --executor NAME")
        if value is None or not key:
            raise BenchBenchError(f"{OPTION} {quoted(text)}: write KEY=VALUE, for example partition=gpu")
        try:
            yield Override(f"{join_key(['executor', name])}.{key}", parse_value(value), shown=place)
        except SuiteError as error:
            raise BenchBenchError(f"{place}: {error.problem}") from None
