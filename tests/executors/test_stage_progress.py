"""The progress of a running stage: words, the log's lines, and the file that the page reads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchbench.executors import stage_progress
from benchbench.executors.stage_progress import (
    LineRhythm,
    Pace,
    StageReporter,
    duration,
    forget_progress,
    in_words,
    read_progress,
)
from benchbench.specs.records import Progress
from benchbench.store import StageFolder


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Time that passes where the test says so."""
    clock = SimpleNamespace(now=100.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: 1e9 + clock.now, strftime=lambda _: "12:00:00")
    monkeypatch.setattr(stage_progress, "time", fake)
    return clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (100, "1 min 40 s"),
        (240, "4 min"),
        (659, "10 min"),
        (3600, "1 h"),
        (7509, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_words():
    progress = Progress(done=5, total=20, epoch=2, epochs=8, loss=1.23456, validation_accuracy=0.4567)
    expected = "epoch 2/8, 25%, loss 1.235, validation accuracy 45.7 %, about 4 min 10 s left"
    assert in_words(progress, 250) == expected
    assert in_words(Progress(done=0, total=0)) == ""


def test_the_rest_is_that_of_this_attempt(clock):
    """It goes on from step 50, and takes 2 seconds for a step."""
    pace = Pace()
    assert pace.seconds_left(Progress(done=50, total=100)) is None
    clock.now += 20
    assert pace.seconds_left(Progress(done=60, total=100)) == 80


def test_a_line_a_minute_and_a_file_for_others(clock, tmp_path):
    folder, reports = StageFolder(tmp_path), []
    report = StageReporter(folder, reports.append)
    for step in range(100):
        report(Progress(done=step, total=100, loss=0.5))
        clock.now += 3
    assert len(reports) == 100
    lines = folder.log.read_text().splitlines()
    assert len(lines) == 4  # in 300 seconds, the first after 60
    assert lines[0] == "12:00:00 20%, loss 0.5, about 4 min left"
    latest = read_progress(folder)
    assert latest.text.startswith("96%, loss 0.5")
    assert latest.at == 1e9 + 100 + 96 * 3
    forget_progress(folder)
    assert read_progress(folder) is None
    forget_progress(folder)


@pytest.mark.parametrize(
    ("epoch_seconds", "expected"),
    [(10, [60, 120, 180, 240]), (90, [90, 180, 270]), (240, [240]), (1000, [300, 600, 900]), (None, [60, 120, 180])],
)
def test_lines_come_by_the_minute_or_the_epoch(clock, epoch_seconds, expected):
    """By the rarer of the two, and every five minutes at least."""
    rhythm, lines = LineRhythm(), []
    for second in range(expected[-1] + 1):
        epoch = None if epoch_seconds is None else second // epoch_seconds + 1
        if rhythm.is_due(Progress(done=second, total=1000, epoch=epoch, epochs=100)):
            lines.append(second)
        clock.now += 1
    assert lines == expected


def test_a_folder_that_cannot_be_written_ends_nothing(clock, tmp_path):
    report = StageReporter(StageFolder(tmp_path / "absent"), lambda progress: None)
    clock.now += 100
    report(Progress(done=1, total=2))
