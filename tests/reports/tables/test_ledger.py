"""The table of the ledger: every device-hour in one line."""

from __future__ import annotations

import pytest

from benchbench.costs.ledger_lines import AliveLine, EndLine, FinishedLine, ReadyLine, RunLine, SubmittedLine
from benchbench.reports.tables.ledger import ledger
from tests.reports.table_texts import texts


@pytest.fixture
def table(lab):
    """The table of one run of ten hours in two slots, with these events in the first."""

    def make(*events, last=True, queue_seconds=0.0):
        folder = lab.store.root / "ledger"
        folder.mkdir(exist_ok=True)
        head = RunLine(
            at=0,
            suite=lab.plan.suite.name,
            time=0,
            device="Big GPU",
            unit="GPU-hours",
            num_devices=1,
            slots=("0", "1"),
            queue_seconds=queue_seconds,
        )
        lines = [head, *events, *([EndLine(at=36000)] if last else [])]
        (folder / "run.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
        table = ledger(lab.frame(), lab.plan, lab.store)
        assert table is not None
        return table

    return make


def events(lab, arm: str, begun: float, ended: float, **seconds: float):
    key = lab.cells(arm)[0].stage
    yield SubmittedLine(at=begun, slot="0", stages={key: "cell"})
    yield ReadyLine(at=begun, slot="0")
    yield FinishedLine(at=ended, slot="0", key=key, kind="cell", seconds=seconds)


def test_without_a_ledger_there_is_no_table(lab):
    assert ledger(lab.frame(), lab.plan, lab.store) is None


def test_lines_are_named_and_add_up(lab, table):
    result = table(*events(lab, "scratch", 0, 18000, student=14400.0, odd=3600.0), *events(lab, "tune", 18000, 18000))
    assert list(result.columns) == ["line", "cells", "total", "share (%)"]
    assert texts(result) == {
        "training steps": ["4.00", "4.00", "20.0"],
        "odd": ["1.00", "1.00", "5.0"],
        "failed attempts": ["", "0", "0.0"],
        "idle": ["", "15.0", "75.0"],
        "sum of the lines": ["", "20.0", "100.0"],
        "measured": ["", "20.0", "100.0"],
    }
    assert "leave out 0.0 % of it" in result.notes[0]
    assert "Big GPU" in result.notes[0]
    assert "GPU-hours of one run of" in result.title


def test_time_in_a_queue_is_a_column_and_in_no_total(lab, table):
    result = table(*events(lab, "scratch", 0, 18000, student=18000.0), queue_seconds=5400.0)
    assert list(result.columns) == ["line", "cells", "total", "share (%)", "queue (h)"]
    assert texts(result)["training steps"] == ["5.00", "5.00", "25.0", ""]
    assert texts(result)["measured"] == ["", "20.0", "100.0", "1.50"]
    assert any(note.startswith("queue (h): ") for note in result.notes)


def test_what_no_line_explains_is_said(lab, table):
    result = table(*events(lab, "scratch", 0, 18000, student=10800.0))
    assert texts(result)["sum of the lines"] == ["", "18.0", "90.0"]
    assert "leave out 10.0 % of it" in result.notes[0]


def test_energy_is_of_the_stages_and_of_the_whole(lab, table):
    run = list(events(lab, "scratch", 0, 18000, student=18000.0))
    run[-1] = run[-1].model_copy(update={"energy_joules": 7.2e6})
    result = texts(table(*run, AliveLine(at=20000, joules=10.8e6)))
    assert "energy (kWh)" not in result  # its last line is without: the total is unknown
    run.append(EndLine(at=36000, joules=18e6))
    assert texts(table(*run, last=False))["energy (kWh)"] == ["2.00", "5.00", ""]


def test_energy_of_stages_that_share_a_counter_is_unknown(lab, table):
    run = [*events(lab, "scratch", 0, 18000, student=18000.0), EndLine(at=36000, joules=18e6)]
    assert texts(table(*run, last=False))["energy (kWh)"] == ["n/a", "5.00", ""]
