"""Progress of a run: shares of the work, lines on a stream, and HTML for notebooks."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest

from benchbench.executors import stage_progress
from benchbench.plugins import load_plugins
from benchbench.running import progress as progress_module
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.running.notebook import NotebookProgress, notebook_shell
from benchbench.running.progress import RunProgress, TerminalProgress
from benchbench.specs.records import Progress
from tests.specs import training_record


class Lines(RunProgress):
    """The lines alone."""

    def __init__(self, weights=None):
        super().__init__(weights or {})
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def close(self) -> None:
        pass


@pytest.fixture
def plan(tiny_suite, plan_of, tmp_path):
    return plan_of(tiny_suite(tmp_path, seeds=[0]))


def hooks_for(view: RunProgress) -> LifecycleHooks:
    host = load_plugins()
    host.manager.register(view)
    return LifecycleHooks(host)


def test_the_share_is_that_of_the_work(plan):
    """Stages weigh by their FLOPs; those done before count nothing, and running ones in part."""
    first, second, third = (stage for stage in plan.stages.values() if stage.kind in ("teacher", "cell"))
    others = [key for key in plan.stages if key not in (first.key, second.key, third.key)]
    view = Lines({first.key: 1.0, second.key: 1.0, third.key: 6.0})
    hooks = hooks_for(view)
    hooks.plan_made(plan, [*others, first.key])
    assert view.share() == 0
    hooks.stage_started(second, "0")
    hooks.stage_finished(second, training_record(), plan.file.folder)
    assert view.share() == pytest.approx(1 / 7)
    hooks.stage_started(third, "0")
    hooks.progress(third, Progress(done=1, total=2, epoch=3, epochs=6))
    assert view.share() == pytest.approx(4 / 7)
    hooks.stage_failed(third, "no memory")
    assert view.share() == 1
    assert [line.split(" ")[0] for line in view.lines] == ["tiny:", "done", "FAILED"]
    assert "[14%, 0:00" in view.lines[1]


def test_nothing_to_do_is_all_of_it(plan):
    view = Lines()
    hooks_for(view).plan_made(plan, list(plan.stages))
    assert (view.share(), view.position()) == (1.0, "100%, 0:00")


def test_one_line_per_stage_where_there_is_no_terminal(plan, capsys):
    view = TerminalProgress({})
    hooks = hooks_for(view)
    hooks.plan_made(plan, [])
    stage = plan.stages[plan.cells[0].stage]
    hooks.stage_failed(stage, "no [red]memory[/red]")
    view.close()
    title, failure = capsys.readouterr().err.splitlines()
    assert title.startswith("tiny: 2 cells, ")
    assert failure == f"FAILED  {stage.label}: no [red]memory[/red]"


def test_a_long_stage_speaks_where_there_is_no_terminal(plan, capsys, monkeypatch):
    """Twenty minutes of two-minute epochs, reported every second, are ten lines; of an attempt of seconds none."""
    now = [0.0]
    for module in (progress_module, stage_progress):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    view = TerminalProgress({})
    hooks = hooks_for(view)
    hooks.plan_made(plan, [])
    stage = plan.stages[plan.cells[0].stage]
    hooks.stage_started(stage, "0")
    for second in range(1201):
        now[0], epoch = float(second), second // 120 + 1
        report = Progress(done=second, total=1300, epoch=epoch, epochs=11, loss=0.5, validation_accuracy=0.25)
        hooks.progress(stage, report)
    _, *lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith(
        f"runs    {stage.label}: epoch 2/11, 9%, loss 0.5, validation accuracy 25.0 %, about 19 min left"
    )


class Kernel:
    """IPython as it is in a notebook; keeps what is displayed."""

    def __init__(self, kernel: object | None = True):
        self.contents: list[dict[str, str]] = []
        self.shell = SimpleNamespace(kernel=kernel)
        self.display = SimpleNamespace(display=self.show)

    def get_ipython(self):
        return self.shell

    def show(self, content, raw, display_id):
        assert raw
        assert display_id
        self.contents.append(content)
        return SimpleNamespace(update=lambda content, raw: self.contents.append(content))


@pytest.fixture
def kernel(monkeypatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", kernel.display)
    monkeypatch.setattr("benchbench.running.notebook.SECONDS", 0.0)
    return kernel


def test_a_notebook_is_known_by_its_kernel(monkeypatch, kernel):
    assert notebook_shell() is kernel.shell
    monkeypatch.setitem(sys.modules, "IPython", Kernel(kernel=None))  # IPython in a terminal
    assert notebook_shell() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert notebook_shell() is None


def test_a_notebook_shows_one_place_drawn_again(plan, kernel):
    view = NotebookProgress({})
    hooks = hooks_for(view)
    hooks.plan_made(plan, [])
    first, second = plan.stages[plan.cells[0].stage], plan.stages[plan.cells[1].stage]
    hooks.stage_started(first, "0")
    hooks.progress(first, Progress(done=1, total=4, epoch=1, epochs=4))
    shown = kernel.contents[-1]
    assert "epoch 1/4" in shown["text/plain"]
    assert '<progress max="1" value="0.250">' in shown["text/html"]
    hooks.stage_finished(first, training_record(), plan.file.folder)
    hooks.stage_started(second, "0")
    hooks.stage_failed(second, "<script>alert(1)</script>")
    shown = kernel.contents[-1]["text/html"]
    assert "<strong>FAILED  " in shown
    assert "&lt;script&gt;" in shown
    assert "script" not in re.findall(r"<(\w+)", shown)
    view.close()
    assert "; stopped: run it again to go on from its checkpoints" in kernel.contents[-1]["text/plain"]


def test_a_notebook_is_not_drawn_at_every_step(plan, kernel, monkeypatch):
    monkeypatch.setattr("benchbench.running.notebook.SECONDS", 3600.0)
    view = NotebookProgress({})
    hooks = hooks_for(view)
    hooks.plan_made(plan, list(plan.stages))
    for stage in plan.stages.values():
        hooks.stage_started(stage, "0")
    assert len(kernel.contents) == 1
    view.close()
    assert "100%, 0:00" in kernel.contents[-1]["text/plain"]
