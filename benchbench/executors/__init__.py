"""Executors, which run stages."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component, hookimpl
from benchbench.executors.ray_params import RayParams
from benchbench.executors.slurm_params import SlurmParams


@hookimpl
def benchbench_executors() -> Iterable[Component]:
    yield Component("local", "benchbench.executors.local:LocalExecutor", summary="worker processes on this machine")
    yield Component("inline", "benchbench.executors.inline:InlineExecutor", summary="this process, one stage at a time")
    yield Component("slurm", "benchbench.executors.slurm:SlurmExecutor", SlurmParams, "jobs of a Slurm cluster")
    yield Component("ray", "benchbench.executors.ray:RayExecutor", RayParams, "workers on a Ray cluster")
