"""The contract of lifecycle hooks: called for every event of a run, they do not raise."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

from benchbench import hookspecs
from benchbench.planning.model import Plan
from benchbench.plugins import PluginHost
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.pilots import Pilot
from benchbench.specs.records import Progress
from benchbench.store import KEY_LENGTH
from benchbench.testing.check import Check
from benchbench.testing.sample import sample_plan, sample_record

HOOKS = tuple(name for name in vars(hookspecs.Lifecycle) if name.startswith("benchbench_"))


@cache
def _plan() -> Plan:
    return sample_plan()


def events() -> Mapping[str, Mapping[str, object]]:
    """Arguments of every hook, as a run with one finished and one failed stage would give them, in its order."""
    plan = _plan()
    first, *_, last = plan.stages.values()
    progress = Progress(done=15, total=30, epoch=1, epochs=2, loss=1.75)
    reason = "it needs a stage that failed"
    return {
        "benchbench_plan_made": {"plan": plan, "done": [first.key]},
        "benchbench_stage_started": {"stage": last, "worker": "0"},
        "benchbench_progress": {"stage": last, "progress": progress},
        "benchbench_stage_silent": {"stage": last, "seconds": 120.0},
        "benchbench_stage_finished": {
            "stage": first,
            "record": sample_record(),
            "folder": Path("runs", first.kind, first.key[:KEY_LENGTH]),  # without files
        },
        "benchbench_stage_failed": {"stage": last, "reason": reason},
        "benchbench_stage_elsewhere": {
            "stage": last,
            "elsewhere": StageElsewhere("running", "node1 4711", progress),
        },
        "benchbench_pilot_changed": {"pilot": Pilot("4711", "running", "on n1")},
        "benchbench_run_finished": {"plan": plan, "failed": {last.key: reason}},
    }


def checks(host: PluginHost, plugin: str) -> Iterator[Check]:
    """A check of every lifecycle hook that a plugin has, in the order of a run."""
    for name in HOOKS:
        for implementation in getattr(host.manager.hook, name).get_hookimpls():
            if implementation.plugin_name == plugin:
                module = getattr(implementation.function, "__module__", "")
                call = partial(_call, implementation.function, implementation.argnames, name)
                yield Check(f"hook/{name}", "call", call, module)


def _call(function: Callable[..., object], names: tuple[str, ...], hook: str) -> None:
    arguments = events()[hook]
    # Files that it writes into the current folder are deleted with it.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        function(*(arguments[name] for name in names))
