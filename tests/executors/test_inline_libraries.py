"""Libraries and plugins that meddle with the process in which stages run inline."""

from __future__ import annotations

import sys

from benchbench.executors import inline
from benchbench.executors.inline import InlineExecutor, _Output
from tests.executors.conftest import devices


def test_a_library_may_replace_write_while_a_stage_runs(capsys, tmp_path):
    """wandb does so at import, and keeps the method that it finds."""
    output = _Output(sys.stderr)
    with (tmp_path / "log.txt").open("w") as log, output.to(log):
        original = output.write
        output.write = lambda text: original(text.upper())
        print("stage", file=output, flush=True)
        with output.to(output.original):
            print("hook", file=output)
    print("after", file=output)
    assert capsys.readouterr().err == "HOOK\nAFTER\n"
    assert (tmp_path / "log.txt").read_text() == "STAGE\n"


def test_an_exit_ends_the_stages_and_not_the_process(runs, monkeypatch):
    def run_and_exit(self, stages):
        sys.exit(7)

    monkeypatch.setattr(inline.Worker, "run", run_and_exit)
    with runs(InlineExecutor, devices(1)) as run:
        events = run.run("0", run.stage("scratch"), run.stage("distil"))
    assert [(event.name, event.reason) for event in events] == [("died", "it called sys.exit(7)")] * 2
