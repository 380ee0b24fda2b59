"""Stages that have not been heard of for a while."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchbench.running import heartbeats
from benchbench.running.heartbeats import Heartbeats


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_silence_is_reported_whenever_it_has_doubled(clock):
    beats, reports = Heartbeats(), []
    beats.start("hangs")
    beats.start("works")
    for minute in range(1, 21):
        clock.now = 60.0 * minute
        beats.step("works")
        reports += [(key, seconds / 60) for key, seconds in beats.notices()]
    assert reports == [("hangs", 2), ("hangs", 4), ("hangs", 8), ("hangs", 16)]
    assert beats.has_moved("works")
    assert not beats.has_moved("hangs")


def test_a_step_begins_anew_and_an_end_is_quiet(clock):
    beats = Heartbeats()
    beats.start("stage")
    clock.now = 119.0
    beats.step("stage")
    clock.now = 238.0
    assert list(beats.notices()) == []
    clock.now = 240.0
    assert list(beats.notices()) == [("stage", 121.0)]
    beats.end("stage")
    clock.now = 1e6
    assert list(beats.notices()) == []
