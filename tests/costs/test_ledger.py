"""The time of runs: the summary of a ledger file, line by line, with kills and failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from benchbench.costs.ledger import RunLedger
from benchbench.costs.ledger_lines import (
    FOLDER,
    AliveLine,
    EndLine,
    FailedLine,
    FinishedLine,
    Line,
    ReadyLine,
    RunLine,
    SubmittedLine,
    allocations,
)
from benchbench.costs.ledger_summary import LedgerSummary, predictions, summarize_ledger
from benchbench.errors import StoreError
from benchbench.hardware.devices import Devices
from benchbench.store import Store
from benchbench.store.processes import _identity
from tests.specs import cost_record

KNOWN = ("a", "b", "c", "d")


@pytest.fixture
def summary(tmp_path) -> Callable[..., LedgerSummary]:
    """The summary of runs, each a list of lines, with slots that hold two devices."""

    def make(*runs: list[Line], slots: int = 1, suite: str = "mine") -> LedgerSummary:
        folder = tmp_path / FOLDER
        folder.mkdir(exist_ok=True)
        names = tuple("0123"[:slots])
        head = RunLine(at=0, suite=suite, time=0, device="a GPU", unit="GPU-hours", num_devices=2, slots=names)
        for index, lines in enumerate(runs):
            (folder / f"{index}.jsonl").write_text("".join(f"{line.model_dump_json()}\n" for line in [head, *lines]))
        return summarize_ledger(Store(tmp_path), "mine", KNOWN)

    return make


def submitted(at: float, *keys: str) -> Line:
    return SubmittedLine(at=at, slot="0", stages=dict.fromkeys(keys, "cell"))


def ready(at: float) -> Line:
    return ReadyLine(at=at, slot="0")


def finished(at: float, key: str, carried: float = 0.0, **seconds: float) -> FinishedLine:
    return FinishedLine(at=at, slot="0", key=key, kind="cell", seconds=seconds, carried_seconds=carried)


def timed(line: FinishedLine, worked: float, recorded: float | None = None) -> FinishedLine:
    """The line with the times of the worker's own clock."""
    return line.model_copy(update={"worked_seconds": worked, "recorded_seconds": recorded})


def failed(at: float, key: str) -> Line:
    return FailedLine(event="failed", at=at, slot="0", key=key, kind="cell")


def died(at: float, key: str) -> Line:
    return FailedLine(event="died", at=at, slot="0", key=key, kind="cell")


def end(at: float) -> Line:
    return EndLine(at=at)


def hours(seconds: float) -> float:
    return pytest.approx(seconds * 2 / 3600)


def sum_of_lines(total: LedgerSummary) -> float:
    parts = total.start, total.idle, total.failed, total.killed, total.removed, total.residual
    return sum(parts) + sum(total.sections.values())


def test_every_second_is_on_one_line(summary):
    total = summary(
        [
            submitted(1, "a"),
            ready(4),
            finished(15, "a", student=8, data=2.5),
            submitted(16, "b"),
            ready(16.5),
            finished(20, "b", student=3),
            end(21),
        ]
    )
    assert total.sections == {("cell", "student"): hours(11), ("cell", "data"): hours(2.5)}
    assert total.start == hours(3 + 0.5)
    assert total.idle == hours(1 + 1 + 1)
    assert total.residual == hours(0.5 + 0.5)
    assert total.total == hours(21) == pytest.approx(sum_of_lines(total))
    assert (total.failed, total.killed, total.removed, total.runs) == (0, 0, 0, 1)


def test_times_of_a_worker_are_compared_with_its_own_clock(summary):
    """Its record is a line; until the runner hears of it, the slot is idle."""
    first = timed(finished(12, "a", student=6), worked=7.5, recorded=1)
    second = timed(finished(15, "b", student=2), worked=10, recorded=0.25)
    total = summary([submitted(0, "a", "b"), ready(2), first, second, end(16)])
    assert total.sections == {("cell", "student"): hours(8), ("cell", "record"): hours(1.25)}
    assert total.residual == hours(10 - 8 - 1.25)
    assert total.idle == hours(16 - 15 + (15 - 2 - 10))
    assert sum_of_lines(total) == pytest.approx(total.total)


def test_a_worker_s_clock_does_not_cover_a_later_failure(summary):
    first = timed(finished(6, "a", student=4), worked=5, recorded=0.5)
    total = summary([submitted(0, "a", "b"), ready(0), first, failed(9, "b"), end(9)])
    assert total.failed == hours(9 - 4.5)
    assert (total.idle, total.residual) == (0, 0)


def test_slots_without_work_are_idle(summary):
    total = summary([submitted(0, "a"), ready(0), finished(10, "a", student=10), end(10)], slots=3)
    assert total.idle == hours(20)
    assert total.total == hours(30)


def test_the_time_of_a_failed_stage_is_apart_from_those_beside_it(summary):
    total = summary(
        [
            submitted(0, "a", "b"),
            ready(1),
            failed(4, "b"),
            finished(11, "a", student=7),
            end(11),
        ]
    )
    assert total.sections == {("cell", "student"): hours(7)}
    assert total.failed == hours(10 - 7)
    assert total.residual == 0
    assert sum_of_lines(total) == pytest.approx(total.total)


@pytest.mark.parametrize("own_clock", [False, True], ids=["", "by the worker's clock"])
def test_a_second_attempt_after_running_out_of_memory_is_a_failed_first_one(summary, own_clock):
    first, second = finished(8, "a", student=5), finished(12, "b", student=4)
    if own_clock:  # each since it was ready for the attempt
        first, second = timed(first, worked=5), timed(second, worked=4)
    total = summary(
        [
            submitted(0, "a", "b"),
            ready(0),
            ready(3),
            first,
            ready(8),
            second,
            end(12),
        ]
    )
    assert total.failed == hours(3)
    assert total.start == 0
    assert sum_of_lines(total) == pytest.approx(total.total)


def test_a_killed_worker_s_work_is_lost_where_nothing_goes_on_from_it(summary):
    total = summary(
        [
            submitted(0, "a", "b"),
            ready(2),
            died(9, "a"),
            died(9, "b"),
            submitted(9, "a"),
            ready(10),
            finished(14, "a", carried=5, student=9),
            end(14),
        ]
    )
    # Seven seconds until the kill, of which a goes on from five.
    assert total.sections == {("cell", "student"): hours(9)}
    assert total.killed == hours(7 - 5)
    assert total.start == hours(3)
    assert sum_of_lines(total) == pytest.approx(total.total)
    assert total.total == hours(14)


def test_a_killed_run_ends_with_its_last_line_and_the_next_one_goes_on(summary):
    total = summary(
        [submitted(0, "a"), ready(1), AliveLine(at=5)],
        [submitted(0, "a"), ready(1), finished(4, "a", carried=3, student=6), end(4)],
    )
    assert total.runs == 2
    assert total.killed == hours(4 - 3)
    assert total.total == hours(9) == pytest.approx(sum_of_lines(total))


def test_work_that_was_gone_on_with_proves_that_a_killed_run_outlived_its_last_line(summary):
    total = summary(
        [submitted(0, "a"), ready(1), AliveLine(at=2)],
        [submitted(0, "a"), ready(1), finished(4, "a", carried=1.5, student=4.5), end(4)],
    )
    assert total.killed == 0
    assert total.total == hours(2 + 4 + 0.5) == pytest.approx(sum_of_lines(total))


def test_a_failed_attempt_whose_checkpoint_was_gone_on_with_counts_once(summary):
    total = summary(
        [submitted(0, "a"), ready(1), failed(101, "a"), end(101)],
        [submitted(0, "a"), ready(1), finished(61, "a", carried=90, student=150), end(61)],
    )
    assert total.sections == {("cell", "student"): hours(150)}
    assert total.failed == hours(100 - 90)
    assert total.total == hours(101 + 61) == pytest.approx(sum_of_lines(total))


def test_a_second_attempt_in_the_same_worker_that_goes_on_from_the_first_counts_once(summary):
    total = summary(
        [
            submitted(0, "a", "b"),
            ready(0),
            ready(10),
            finished(15, "a", carried=2, student=7),
            finished(20, "b", carried=3, student=8),
            end(20),
        ]
    )
    assert total.failed == hours(10 - 5)
    assert total.total == hours(20) == pytest.approx(sum_of_lines(total))


def test_work_of_another_stage_that_was_lost_is_lost(summary):
    """A killed run outlived its last line, whatever else was killed."""
    total = summary(
        [submitted(0, "b"), ready(0), AliveLine(at=7)],
        [submitted(0, "a"), ready(1), AliveLine(at=2)],
        [submitted(0, "a"), ready(1), finished(4, "a", carried=1.5, student=4.5), end(4)],
    )
    assert total.killed == hours(7)
    assert total.total == hours(7 + 2 + 4 + 0.5) == pytest.approx(sum_of_lines(total))


def test_a_run_may_be_killed_while_an_older_one_goes_on_with_its_stage(summary):
    total = summary(
        [submitted(0, "a"), ready(1), finished(4, "a", carried=2, student=5), end(4)],
        [submitted(0, "a"), ready(1), AliveLine(at=4)],
    )
    assert total.killed == hours(3 - 2)
    assert total.total == hours(4 + 4) == pytest.approx(sum_of_lines(total))


def test_a_worker_that_never_got_ready_was_not_starting_up_in_vain(summary):
    total = summary([submitted(0, "a"), died(3, "a"), end(3)])
    assert total.killed == hours(3)
    assert total.start == 0


def test_stages_that_the_suite_no_longer_has_are_a_line(summary):
    total = summary([submitted(0, "gone"), ready(0), finished(6, "gone", student=6), end(6)])
    assert total.removed == hours(6)
    assert not total.sections


def test_other_suites_runs_do_not_count(summary):
    assert summary([submitted(0, "a"), end(6)], suite="another").total == 0


@pytest.mark.parametrize("torn", ['{"event": "fini', "no JSON", '{"event": "end"}', "[1]"])
def test_a_torn_line_ends_a_run(torn, summary, tmp_path):
    summary([submitted(0, "a"), ready(0), finished(6, "a", student=6)])
    with (tmp_path / FOLDER / "0.jsonl").open("a") as file:
        file.write(torn)
    assert summarize_ledger(Store(tmp_path), "mine", KNOWN).total == hours(6)


def test_written_lines_are_read_again(tmp_path):
    plan = SimpleNamespace(suite=SimpleNamespace(name="mine"), devices=Devices("cuda", "a GPU", ("0", "1"), 4))
    stage = SimpleNamespace(key="a", kind="cell", devices=2)
    writer = RunLedger(Store(tmp_path), plan)
    writer.submitted("0", [stage], {"a": 2.5, "other": 1.0})
    writer.ready("0")
    writer.finished("0", stage, cost_record(seconds={"student": 0.0}), recorded_seconds=0.0, worked_seconds=0.0)
    writer.close()
    assert predictions(Store(tmp_path)) == {"a": 2.5}
    total = summarize_ledger(Store(tmp_path), "mine", ["a"])
    assert total.sections == {("cell", "student"): 0.0, ("cell", "record"): 0.0}
    assert total.units == {"GPU-hours"}
    assert total.devices == {"a GPU"}
    assert total.total > 0
    assert sum_of_lines(total) == pytest.approx(total.total)


def test_a_test_that_was_made_again_costs_no_second_training(tmp_path):
    """The record has both; the training is on an earlier line."""
    plan = SimpleNamespace(suite=SimpleNamespace(name="mine"), devices=Devices("cuda", "a GPU", ("0",), 1))
    stage = SimpleNamespace(key="a", kind="cell", devices=1)
    trained = cost_record(seconds={"student": 100.0, "evaluation": 2.0}, energy_joules=1000.0)
    tested = cost_record(
        seconds={"student": 100.0, "evaluation": 7.0},
        energy_joules=1050.0,
        earlier_seconds=trained.seconds,
        earlier_joules=1000.0,
    )
    for cost in (trained, tested):
        writer = RunLedger(Store(tmp_path), plan)
        writer.submitted("0", [stage], {})
        writer.ready("0")
        writer.finished("0", stage, cost)
        writer.close()
    total = summarize_ledger(Store(tmp_path), "mine", ["a"])
    assert total.sections == {("cell", "student"): 100 / 3600, ("cell", "evaluation"): pytest.approx(7 / 3600)}
    assert total.stage_joules == {"cell": pytest.approx(1050.0)}
    assert total.killed == 0


def test_a_job_s_time_in_the_queue_is_known_and_nobody_s(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHBENCH_SUBMITTED", str(time.time() - 7300))
    monkeypatch.setenv("BENCHBENCH_GRANTED", str(time.time() - 100))
    monkeypatch.setenv("BENCHBENCH_PILOT", "4711")
    _identity.cache_clear()
    plan = SimpleNamespace(suite=SimpleNamespace(name="mine"), devices=Devices("cpu", "a CPU", ("0",), 4))
    RunLedger(Store(tmp_path), plan).close()
    monkeypatch.setenv("BENCHBENCH_SUBMITTED", "soon")
    RunLedger(Store(tmp_path), plan).close()
    _identity.cache_clear()
    total = summarize_ledger(Store(tmp_path), "mine", ["a"])
    assert total.queue == pytest.approx(2, abs=0.01)
    assert total.total == pytest.approx(2 * 4 * 100 / 3600, abs=0.01)  # it had its devices while it started
    assert total.start == pytest.approx(total.total, abs=0.01)
    assert [line.device for line in allocations(Store(tmp_path), "4711")] == ["a CPU"] * 2
    assert allocations(Store(tmp_path), "4712") == []


def test_a_stage_on_several_slots_counts_on_all_of_them(summary):
    wide = submitted(0, "a").model_copy(update={"width": 2})
    total = summary([wide, ready(1), finished(6, "a", student=4, loading=1), end(6)], slots=3)
    assert total.start == hours(2 * 1)
    assert total.sections == {("cell", "student"): hours(2 * 4), ("cell", "loading"): hours(2 * 1)}
    assert total.idle == pytest.approx(hours(6))
    assert sum_of_lines(total) == pytest.approx(total.total) == pytest.approx(hours(3 * 6))


def test_the_energy_of_runs_and_of_finished_stages(summary):
    line = finished(5, "a", student=5).model_copy(update={"energy_joules": 30.0})
    total = summary([submitted(0, "a"), ready(0), line, EndLine(at=6, joules=40.0)])
    assert (total.joules, total.stage_joules) == (40.0, {"cell": 30.0})


def test_the_energy_is_unknown_where_a_run_or_a_stage_was_not_measured(summary):
    line = finished(5, "a", student=5).model_copy(update={"energy_joules": 30.0})
    first = [submitted(0, "a", "b"), ready(0), line, finished(6, "b", student=1), EndLine(at=7, joules=40.0)]
    total = summary(first, [submitted(0, "c"), end(6)])
    assert (total.joules, total.stage_joules) == (None, {"cell": None})


def test_a_sign_of_life_takes_the_place_of_the_last_one(tmp_path, monkeypatch):
    monkeypatch.setattr("benchbench.costs.ledger.ALIVE_SECONDS", 0)
    plan = SimpleNamespace(suite=SimpleNamespace(name="mine"), devices=Devices("cpu", "a CPU", ("0",), 1))
    writer = RunLedger(Store(tmp_path), plan)
    (file,) = (tmp_path / FOLDER).iterdir()
    for _ in range(50):
        writer.alive()
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()] == ["run", "alive"]
    writer.close()
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()] == ["run", "end"]


def predicted(at: float, **hours: float) -> Line:
    return SubmittedLine(at=at, slot="0", stages=dict.fromkeys(hours, "cell"), predicted=hours)


def test_a_prediction_is_the_last_one_before_a_stage_was_finished(summary, tmp_path):
    summary(
        [predicted(0, a=1.0, b=2.0), failed(5, "a"), predicted(5, a=3.0), finished(9, "a")],  # killed here
        [predicted(0, b=4.0), finished(3, "b"), submitted(3, "c"), finished(5, "c"), predicted(6, b=5.0, d=6.0)],
        suite="any",
    )
    assert predictions(Store(tmp_path)) == {"a": 3.0, "b": 4.0}


def test_without_runs_there_are_no_predictions(tmp_path):
    assert predictions(Store(tmp_path)) == {}


def test_a_ledger_that_cannot_be_written(tmp_path):
    plan = SimpleNamespace(suite=SimpleNamespace(name="mine"), devices=Devices("cpu", "a CPU", ("0",), 1))
    (tmp_path / FOLDER).write_text("a file")
    with pytest.raises(StoreError, match=r"cannot write the ledger in .*; use another --store DIR"):
        RunLedger(Store(tmp_path), plan)
