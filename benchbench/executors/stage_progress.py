"""The progress of a running stage: in words, as lines of its log, and in a file of its folder."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

from benchbench.specs.records import Progress, RecordPart
from benchbench.store import StageFolder, write_atomic

# Least seconds between two lines of a log, and the most where an epoch takes longer than that.
LINE_SECONDS, SILENT_SECONDS = 60.0, 300.0
FILE_SECONDS = 10.0  # between two states of the file
FILE = "progress.json"


class ReportedProgress(RecordPart):
    """The last report of a running stage: `text` in words, `at` in seconds since the epoch, and its numbers."""

    text: str
    at: float
    progress: Progress | None = None


class Pace:
    """The pace of a stage, since its first report."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def seconds_left(self, progress: Progress) -> float | None:
        """Expected seconds to the end; None before a second report."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, progress.done
        start, done = self._first
        if progress.done <= done:
            return None
        return (now - start) / (progress.done - done) * (progress.total - progress.done)


class LineRhythm:
    """Says when a stage is to write a line: once a minute, or once an epoch where that is rarer, or every 5 minutes."""

    def __init__(self) -> None:
        self._last, self._epoch = time.monotonic(), 1

    def is_due(self, progress: Progress) -> bool:
        """True where a report is one to write; the next ones wait their turn then."""
        seconds, epoch = time.monotonic() - self._last, progress.epoch
        in_epoch = epoch is not None and epoch <= self._epoch
        if seconds < (SILENT_SECONDS if in_epoch else LINE_SECONDS):
            return False
        self._last, self._epoch = time.monotonic(), epoch or 1
        return True


def in_words(progress: Progress, seconds_left: float | None = None) -> str:
    """A report in one line: epoch, share, loss, validation accuracy, expected rest."""
    parts = [f"epoch {progress.epoch}/{progress.epochs}"] if progress.epoch is not None else []
    parts += [f"{progress.done / progress.total:.0%}"] if progress.total else []
    parts += [f"loss {progress.loss:.4g}"] if progress.loss is not None else []
    if progress.validation_accuracy is not None:
        parts.append(f"validation accuracy {100 * progress.validation_accuracy:.1f} %")
    if seconds_left is not None:
        parts.append(f"about {duration(seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds in words, of a long time without the seconds: 40 s, 1 min 40 s, 24 min, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(math.floor(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours or minutes >= 10 else rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


class StageReporter:
    """Takes the reports of a running stage: passes each on, and keeps the latest in the stage's folder."""

    def __init__(self, folder: StageFolder, pass_on: Callable[[Progress], None]):
        self._folder, self._pass_on = folder, pass_on
        self._pace = Pace()
        self._next_file = 0.0
        self._rhythm = LineRhythm()

    def __call__(self, progress: Progress) -> None:
        self._pass_on(progress)
        left, now = self._pace.seconds_left(progress), time.monotonic()
        if now >= self._next_file:
            self._next_file = now + FILE_SECONDS
            _write(self._folder, ReportedProgress(text=in_words(progress, left), at=time.time(), progress=progress))
        if self._rhythm.is_due(progress):
            with contextlib.suppress(OSError), self._folder.log.open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%H:%M:%S')} {in_words(progress, left)}\n")


def read_progress(folder: StageFolder) -> ReportedProgress | None:
    """The last report of a stage that runs; None where there is none that can be read."""
    try:
        return ReportedProgress.model_validate_json((folder.path / FILE).read_bytes())
    except (OSError, ValueError):
        return None


def forget_progress(folder: StageFolder) -> None:
    """Removes the last report of a stage."""
    (folder.path / FILE).unlink(missing_ok=True)


def _write(folder: StageFolder, report: ReportedProgress) -> None:
    """Replaces the file, without waiting for the disk: after a crash of the machine nobody needs it."""
    with contextlib.suppress(OSError):
        write_atomic(folder.path / FILE, report.model_dump_json().encode(), durable=False)
