"""The clock: nested sections, shared sections, and time that nobody pays for."""

import contextlib
import types

import pytest
import torch

from benchbench.training import clock
from benchbench.training.clock import Account, Clock


@pytest.fixture
def passing(monkeypatch):
    """Time that passes only where the test says so."""
    now = types.SimpleNamespace(value=0.0)
    monkeypatch.setattr(clock, "time", types.SimpleNamespace(perf_counter=lambda: now.value))

    def pass_by(seconds: float) -> None:
        now.value += seconds

    return pass_by


def test_time_of_a_nested_section_is_booked_once(passing):
    ticking, account = Clock(torch.device("cpu")), Account()
    passing(5)  # under no name
    with ticking.section("outer", account):
        passing(1)
        with ticking.section("inner", account):
            passing(10)
        passing(2)
        with contextlib.suppress(ValueError), ticking.section("inner", account):
            passing(100)
            raise ValueError
    passing(5)
    ticking.settle()
    assert account.here == account.alone == {"outer": 3.0, "inner": 110.0}


def test_a_shared_section_costs_each_a_part_here_and_all_of_it_alone(passing):
    ticking, first, second = Clock(torch.device("cpu")), Account(), Account()
    with ticking.section("teacher", first, second):
        passing(10)
        with ticking.section("student", second):
            passing(3)
    with ticking.section("teacher", first):
        passing(1)
    assert first.here == {"teacher": 6.0}
    assert first.alone == {"teacher": 11.0}
    assert second.here == {"teacher": 5.0, "student": 3.0}
    assert second.alone == {"teacher": 10.0, "student": 3.0}
    assert sum(sum(each.here.values()) for each in (first, second)) == 14


def test_settling_books_the_open_section(passing):
    ticking, account = Clock(torch.device("cpu")), Account()
    with ticking.section("student", account):
        passing(2)
        ticking.settle()
        assert account.here == {"student": 2.0}
        passing(1)
    assert account.here == {"student": 3.0}
