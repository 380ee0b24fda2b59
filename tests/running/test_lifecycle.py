"""Lifecycle hooks: each plugin is called on its own, and one that raises is reported once and ends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench import hookimpl
from benchbench.hookspecs import Lifecycle
from benchbench.planning.model import Stage
from benchbench.plugins import PluginHost, load_plugins
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.pilots import Pilot
from benchbench.specs.records import Progress
from tests.specs import training_record, training_spec

STAGE = Stage(training_spec(), "key", "a label")
PROGRESS = Progress(done=1, total=2)


class Listener:
    """Notes its calls; takes some arguments only, as pluggy allows."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def benchbench_stage_started(self, stage, worker):
        self.calls.append(("started", stage.label, worker))

    @hookimpl
    def benchbench_stage_finished(self, folder, record):
        self.calls.append(("finished", record, folder))

    @hookimpl
    def benchbench_run_finished(self):
        self.calls.append(("run finished",))


class Broken:
    """Raises at every start, and not when the run ends."""

    def __init__(self):
        self.starts = 0
        self.ends = 0

    @hookimpl
    def benchbench_stage_started(self, stage):
        self.starts += 1
        raise RuntimeError("no disk\nleft")

    @hookimpl
    def benchbench_run_finished(self):
        self.ends += 1


@pytest.fixture
def host() -> PluginHost:
    return load_plugins()


def test_passes_the_arguments_that_a_plugin_asks_for(host):
    listener = Listener()
    host.add(listener, "listener", "a test")
    hooks = LifecycleHooks(host)
    hooks.stage_started(STAGE, "0")
    hooks.progress(STAGE, PROGRESS)
    hooks.stage_finished(STAGE, training_record(), Path("here"))
    hooks.stage_failed(STAGE, "why")
    hooks.run_finished(None, {})
    assert listener.calls == [
        ("started", "a label", "0"),
        ("finished", training_record(), Path("here")),
        ("run finished",),
    ]


@pytest.mark.parametrize("broken_first", [True, False])
def test_one_that_raises_is_reported_once_and_the_others_are_called(host, capsys, broken_first):
    listener, broken = Listener(), Broken()
    plugins = [(broken, "broken"), (listener, "listener")]
    for plugin, name in plugins if broken_first else reversed(plugins):
        host.add(plugin, name, "a test")
    hooks = LifecycleHooks(host)
    for worker in ("0", "1", "2"):
        hooks.stage_started(STAGE, worker)
    hooks.run_finished(None, {})
    assert [call[0] for call in listener.calls] == ["started"] * 3 + ["run finished"]
    assert (broken.starts, broken.ends) == (1, 1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "warning: plugin broken: benchbench_stage_started raised RuntimeError: no disk left; it is not called again\n"
    )


def test_a_run_starts_with_a_clean_slate(host, capsys):
    broken = Broken()
    host.add(broken, "broken", "a test")
    for _ in range(2):
        LifecycleHooks(host).stage_started(STAGE, "0")
    assert broken.starts == 2
    assert capsys.readouterr().err.count("warning:") == 2


def test_interrupting_is_not_swallowed(host):
    class Interrupted:
        @hookimpl
        def benchbench_stage_started(self):
            raise KeyboardInterrupt

    host.add(Interrupted(), "interrupted", "a test")
    with pytest.raises(KeyboardInterrupt):
        LifecycleHooks(host).stage_started(STAGE, "0")


def test_every_hook_can_be_called(host):
    """A specified hook without a caller would never run."""
    specified = [name for name in vars(Lifecycle) if name.startswith("benchbench_")]
    calls = []

    def listening(name):
        def hook(self):
            calls.append(name)

        hook.__name__ = name
        return hookimpl(hook)

    host.add(type("All", (), {name: listening(name) for name in specified})(), "all", "a test")
    hooks = LifecycleHooks(host)
    hooks.plan_made(None, [])
    hooks.stage_started(STAGE, "0")
    hooks.progress(STAGE, PROGRESS)
    hooks.stage_silent(STAGE, 120.0)
    hooks.stage_elsewhere(STAGE, StageElsewhere("running", "node1 4711"))
    hooks.pilot_changed(Pilot("4711", "queued"))
    hooks.stage_finished(STAGE, training_record(), Path("here"))
    hooks.stage_failed(STAGE, "")
    hooks.run_finished(None, {})
    assert sorted(calls) == sorted(specified)
