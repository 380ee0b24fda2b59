"""Every hook is called: registration hooks when plugins load, lifecycle hooks by a run, in its order."""

from __future__ import annotations

import pytest

from benchbench import Component, hookimpl
from benchbench.components import KINDS
from benchbench.errors import PluginError
from benchbench.executors.base import Event, Executor
from benchbench.hookspecs import REGISTRATION_HOOKS, Lifecycle
from benchbench.plugins import load_plugins
from benchbench.running.runner import RunOptions, run_plan
from benchbench.specs.records import Progress
from benchbench.store import StageFolder, Store
from benchbench.testing.sample import sample_plan, sample_record

PROGRESS = Progress(done=1, total=2)


class Everything:
    """Offers a component of every kind, under the kind's own name."""

    @hookimpl
    def benchbench_teachers(self):
        yield Component("my_teacher", "my:teacher", summary="one")

    @hookimpl
    def benchbench_students(self):
        yield Component("my_student", "my:student", summary="one")

    @hookimpl
    def benchbench_heads(self):
        yield Component("my_head", "my:head", summary="one")

    @hookimpl
    def benchbench_losses(self):
        yield Component("my_loss", "my:loss", summary="one")

    @hookimpl
    def benchbench_augmenters(self):
        yield Component("my_augmenter", "my:augmenter", summary="one")

    @hookimpl
    def benchbench_datasets(self):
        yield Component("my_dataset", "my:dataset", summary="one")

    @hookimpl
    def benchbench_executors(self):
        yield Component("my_executor", "my:executor", summary="one")

    @hookimpl
    def benchbench_metrics(self):
        yield Component("my_metric", "my:metric", summary="one")

    @hookimpl
    def benchbench_reports(self):
        yield Component("my_report", "my:report", summary="one")

    @hookimpl
    def benchbench_figures(self):
        yield Component("my_figure", "my:figure", summary="one")

    @hookimpl
    def benchbench_templates(self):
        yield Component("my_template", "my:template", summary="one")


@pytest.mark.parametrize("kind", KINDS)
def test_components_of_a_registration_hook_are_of_its_kind(kind):
    host = load_plugins()
    host.add(Everything(), "everything", "a test")
    offered = [each for each in KINDS for offer in host.registry.of_kind(each) if offer.component.name == f"my_{kind}"]
    assert offered == [kind]
    assert host.registry.get(kind, f"my_{kind}").target == f"my:{kind}"


@pytest.mark.parametrize("name", REGISTRATION_HOOKS.values())
def test_a_registration_hook_that_gives_something_else_is_refused(name):
    wrong = type("Wrong", (), {name: hookimpl(named(name, lambda self: ["kd"]))})()
    host = load_plugins()
    with pytest.raises(PluginError, match=f"{name} gave 'kd', which is no benchbench.Component"):
        host.add(wrong, "wrong", "a test")


class Diary:
    """Notes every hook that is called, with its stage."""

    def __init__(self):
        self.pages = []

    @hookimpl
    def benchbench_plan_made(self, plan, done):
        self.pages.append(("plan made", plan.suite.name, done))

    @hookimpl
    def benchbench_stage_started(self, stage, worker):
        self.pages.append(("started", stage.key, worker))

    @hookimpl
    def benchbench_progress(self, stage, progress):
        self.pages.append(("progress", stage.key, progress))

    @hookimpl
    def benchbench_stage_silent(self, stage, seconds):
        self.pages.append(("silent", stage.key, seconds))

    @hookimpl
    def benchbench_stage_finished(self, stage, record, folder):
        assert StageFolder(folder).done() == record
        self.pages.append(("finished", stage.key, record.metrics.test_accuracy))

    @hookimpl
    def benchbench_stage_failed(self, stage, reason):
        self.pages.append(("failed", stage.key, reason))

    @hookimpl
    def benchbench_run_finished(self, plan, failed):
        self.pages.append(("run finished", plan.suite.name, failed))


class Pretender(Executor):
    """Trains nothing: a teacher fails, any other stage starts, moves on and leaves a record at once."""

    def __init__(self, devices, settings):
        super().__init__(devices, settings)
        self.store = Store(settings.store)
        self.events = []

    def submit(self, slot, stages):
        for stage in stages:
            self.pretend(slot, stage)

    def pretend(self, slot, stage):
        key = stage.key
        self.events.append(Event("started", key, slot))
        if stage.kind == "teacher":
            self.events.append(Event("failed", key, slot, reason="no\nmemory"))
            return
        self.events.append(Event("progress", key, slot, progress=PROGRESS))
        folder = self.store.stage(stage.kind, key)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_record(sample_record())
        self.events.append(Event("finished", key, slot))

    def wait(self, timeout, handle):
        events, self.events = self.events, []
        for event in events:
            handle(event)

    def close(self):
        pass


def test_a_run_calls_every_lifecycle_hook_in_its_order(tmp_path):
    host = load_plugins()
    diary = Diary()
    host.add(diary, "diary", "a test")
    plan = sample_plan(host.registry)
    pretender = Component("pretender", f"{__name__}:Pretender")
    outcome = run_plan(plan, host, Store(tmp_path / "runs"), pretender, RunOptions(tmp_path / "data"))

    elsewhere = {"benchbench_stage_elsewhere", "benchbench_pilot_changed"}  # of other processes, of which there is none
    assert {name for name in vars(Lifecycle) if name.startswith("benchbench_")} - elsewhere == {
        name for name in vars(Diary) if name.startswith("benchbench_")
    }
    assert diary.pages[0] == ("plan made", "sample", [])
    assert diary.pages[-1] == ("run finished", "sample", outcome.failed)
    for key, stage in plan.stages.items():
        pages = [page[:1] + page[2:] for page in diary.pages if page[1] == key]
        if stage.kind == "teacher":
            assert pages == [("started", "0"), ("failed", "no memory")]
        elif any(plan.stages[need].kind == "teacher" for need in stage.needs.values()):
            assert [page[0] for page in pages] == ["failed"]
            assert "which failed" in pages[0][1]
        else:
            assert pages == [("started", "0"), ("progress", PROGRESS), ("finished", 0.625)]

    again = Diary()
    host.manager.unregister(diary)
    host.add(again, "diary", "a test")
    run_plan(plan, host, Store(tmp_path / "runs"), pretender, RunOptions(tmp_path / "data"))
    assert sorted(again.pages[0][2]) == sorted(outcome.ran)
    assert not [page for page in again.pages if page[0] == "finished"]


def named(name, function):
    """A function under another name: pluggy goes by the attribute, messages by the function."""
    function.__name__ = name
    return function
