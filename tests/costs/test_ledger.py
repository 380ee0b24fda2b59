"""What the time of runs went to: the account of a ledger file, line by line, with what kills and failures leave."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from benchbench.costs.ledger import FOLDER, RunLedger, predictions, spent
from benchbench.hardware.devices import Devices
from benchbench.store import Store

KNOWN = ("a", "b", "c", "d")


@pytest.fixture
def account(tmp_path):
    """The account of runs, each a list of (event, at, more), with a slot "0" that holds two devices."""

    def make(*runs: list[tuple[str, float, dict[str, Any]]], slots: int = 1, suite: str = "mine"):
        folder = tmp_path / FOLDER
        folder.mkdir(exist_ok=True)
        for number, events in enumerate(runs):
            head = {"suite": suite, "device": "a GPU", "unit": "GPU-hours", "held": 2, "slots": list("0123")[:slots]}
            lines = [{"event": "run", "at": 0.0, **head}]
            lines += [{"event": name, "at": at, "slot": "0", **more} for name, at, more in events]
            (folder / f"{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return spent(Store(tmp_path), "mine", KNOWN)

    return make


def submitted(at: float, *keys: str):
    return "submitted", at, {"stages": dict.fromkeys(keys, "cell")}


def finished(at: float, key: str, carried: float = 0.0, **seconds: float):
    return "finished", at, {"key": key, "kind": "cell", "seconds": seconds, "carried_seconds": carried}


def ended(how: str, at: float, key: str):
    return how, at, {"key": key, "kind": "cell"}


def hours(seconds: float) -> float:
    return pytest.approx(seconds * 2 / 3600)


def lines(account) -> float:
    parts = account.start, account.idle, account.failed, account.killed, account.removed, account.residual
    return sum(parts) + sum(account.sections.values())


def test_every_second_is_on_one_line(account):
    found = account(
        [
            submitted(1, "a"),
            ("ready", 4, {}),
            finished(15, "a", student=8, data=2.5),
            submitted(16, "b"),
            ("ready", 16.5, {}),
            finished(20, "b", student=3),
            ("end", 21, {}),
        ]
    )
    assert found.sections == {("cell", "student"): hours(11), ("cell", "data"): hours(2.5)}
    assert found.start == hours(3 + 0.5)
    assert found.idle == hours(1 + 1 + 1)
    assert found.residual == hours(0.5 + 0.5)
    assert found.total == hours(21) == pytest.approx(lines(found))
    assert (found.failed, found.killed, found.removed, found.runs) == (0, 0, 0, 1)


def test_what_a_worker_says_it_took_is_held_against_its_own_clock(account):
    """Its record is a line; until the runner hears of it, the slot is idle."""
    first, second = finished(12, "a", student=6), finished(15, "b", student=2)
    first[2].update(recorded_seconds=1, worked_seconds=7.5)
    second[2].update(recorded_seconds=0.25, worked_seconds=10)
    found = account([submitted(0, "a", "b"), ("ready", 2, {}), first, second, ("end", 16, {})])
    assert found.sections == {("cell", "student"): hours(8), ("cell", "record"): hours(1.25)}
    assert found.residual == hours(10 - 8 - 1.25)
    assert found.idle == hours(16 - 15 + (15 - 2 - 10))
    assert lines(found) == pytest.approx(found.total)


def test_a_worker_s_clock_says_nothing_of_what_failed_after_it(account):
    first = finished(6, "a", student=4)
    first[2].update(recorded_seconds=0.5, worked_seconds=5)
    found = account([submitted(0, "a", "b"), ("ready", 0, {}), first, ended("failed", 9, "b"), ("end", 9, {})])
    assert found.failed == hours(9 - 4.5)
    assert (found.idle, found.residual) == (0, 0)


def test_slots_without_work_are_idle(account):
    found = account([submitted(0, "a"), ("ready", 0, {}), finished(10, "a", student=10), ("end", 10, {})], slots=3)
    assert found.idle == hours(20)
    assert found.total == hours(30)


def test_what_a_failed_stage_took_is_apart_from_what_those_beside_it_did(account):
    found = account(
        [
            submitted(0, "a", "b"),
            ("ready", 1, {}),
            ended("failed", 4, "b"),
            finished(11, "a", student=7),
            ("end", 11, {}),
        ]
    )
    assert found.sections == {("cell", "student"): hours(7)}
    assert found.failed == hours(10 - 7)
    assert found.residual == 0
    assert lines(found) == pytest.approx(found.total)


@pytest.mark.parametrize("told", [False, True], ids=["", "by the worker's clock"])
def test_a_second_attempt_after_running_out_of_memory_is_a_failed_first_one(account, told):
    first, second = finished(8, "a", student=5), finished(12, "b", student=4)
    if told:  # each since it was ready for the attempt
        first[2].update(worked_seconds=5)
        second[2].update(worked_seconds=4)
    found = account(
        [
            submitted(0, "a", "b"),
            ("ready", 0, {}),
            ("ready", 3, {}),
            first,
            ("ready", 8, {}),
            second,
            ("end", 12, {}),
        ]
    )
    assert found.failed == hours(3)
    assert found.start == 0
    assert lines(found) == pytest.approx(found.total)


def test_a_killed_worker_s_work_is_lost_where_nothing_goes_on_from_it(account):
    found = account(
        [
            submitted(0, "a", "b"),
            ("ready", 2, {}),
            ended("died", 9, "a"),
            ended("died", 9, "b"),
            submitted(9, "a"),
            ("ready", 10, {}),
            finished(14, "a", carried=5, student=9),
            ("end", 14, {}),
        ]
    )
    # Seven seconds until the kill, of which a goes on from five.
    assert found.sections == {("cell", "student"): hours(9)}
    assert found.killed == hours(7 - 5)
    assert found.start == hours(3)
    assert lines(found) == pytest.approx(found.total)
    assert found.total == hours(14)


def test_a_killed_run_ends_with_its_last_line_and_the_next_one_goes_on(account):
    found = account(
        [submitted(0, "a"), ("ready", 1, {}), ("alive", 5, {})],
        [submitted(0, "a"), ("ready", 1, {}), finished(4, "a", carried=3, student=6), ("end", 4, {})],
    )
    assert found.runs == 2
    assert found.killed == hours(4 - 3)
    assert found.total == hours(9) == pytest.approx(lines(found))


def test_work_that_was_gone_on_with_proves_that_a_killed_run_outlived_its_last_line(account):
    found = account(
        [submitted(0, "a"), ("ready", 1, {}), ("alive", 2, {})],
        [submitted(0, "a"), ("ready", 1, {}), finished(4, "a", carried=1.5, student=4.5), ("end", 4, {})],
    )
    assert found.killed == 0
    assert found.total == hours(2 + 4 + 0.5) == pytest.approx(lines(found))


def test_a_worker_that_never_got_ready_was_not_starting_up_in_vain(account):
    found = account([submitted(0, "a"), ended("died", 3, "a"), ("end", 3, {})])
    assert found.killed == hours(3)
    assert found.start == 0


def test_stages_that_the_suite_no_longer_has_are_a_line(account):
    found = account([submitted(0, "gone"), ("ready", 0, {}), finished(6, "gone", student=6), ("end", 6, {})])
    assert found.removed == hours(6)
    assert not found.sections


def test_other_suites_runs_do_not_count(account):
    assert account([submitted(0, "a"), ("end", 6, {})], suite="another").total == 0


@pytest.mark.parametrize("torn", ['{"event": "fini', "no JSON", '{"event": "end"}', "[1]"])
def test_a_torn_line_ends_a_run(torn, account, tmp_path):
    account([submitted(0, "a"), ("ready", 0, {}), finished(6, "a", student=6)])
    with (tmp_path / FOLDER / "0.jsonl").open("a") as file:
        file.write(torn)
    assert spent(Store(tmp_path), "mine", KNOWN).total == hours(6)


def test_what_is_written_is_what_is_read(tmp_path):
    plan = SimpleNamespace(suite=SimpleNamespace(name="mine"), devices=Devices("cuda", "a GPU", ("0", "1"), 4))
    stage = SimpleNamespace(key="a", kind="cell")
    writer = RunLedger(Store(tmp_path), plan)
    writer.submitted("0", [stage], {"a": 2.5, "other": 1.0})
    writer.ready("0")
    record = {"cost": {"seconds": {"student": 0.0}, "carried_seconds": 0.0}}
    writer.ended("finished", "0", stage, record, {"recorded_seconds": 0.0, "worked_seconds": 0.0})
    writer.close()
    assert predictions(Store(tmp_path)) == {"a": 2.5}
    found = spent(Store(tmp_path), "mine", ["a"])
    assert found.sections == {("cell", "student"): 0.0, ("cell", "record"): 0.0}
    assert found.units == {"GPU-hours"}
    assert found.devices == {"a GPU"}
    assert found.total > 0
    assert lines(found) == pytest.approx(found.total)


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


def foretold(at: float, **hours: float):
    return "submitted", at, {"stages": dict.fromkeys(hours, "cell"), "predicted": hours}


def test_a_prediction_is_the_last_one_before_a_stage_was_finished(account, tmp_path):
    account(
        [foretold(0, a=1.0, b=2.0), ended("failed", 5, "a"), foretold(5, a=3.0), finished(9, "a")],  # killed here
        [foretold(0, b=4.0), finished(3, "b"), submitted(3, "c"), finished(5, "c"), foretold(6, b=5.0, d=6.0)],
        suite="any",
    )
    assert predictions(Store(tmp_path)) == {"a": 3.0, "b": 4.0}


def test_without_runs_there_are_no_predictions(tmp_path):
    assert predictions(Store(tmp_path)) == {}
