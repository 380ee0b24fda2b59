"""Executors: where stages run."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component, hookimpl


@hookimpl
def benchbench_executors() -> Iterable[Component]:
    yield Component("local", "benchbench.executors.local:LocalExecutor", summary="worker processes on this machine")
