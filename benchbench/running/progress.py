"""Progress of a run on a terminal. A plugin like any other."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchbench.components import hookimpl
from benchbench.errors import printable
from benchbench.executors.stage_progress import LineRhythm, Pace, duration, in_words
from benchbench.planning.model import Plan, Stage
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.pilots import Pilot
from benchbench.specs.records import (
    CalibrationRecord,
    DiffusionRecord,
    ExecutionRecord,
    OutputsRecord,
    Progress,
    QualityRecord,
    StageRecord,
    SynthesisRecord,
    TrainingRecord,
    TuningMetrics,
    TuningRecord,
)

SILENT = 60.0  # seconds without a step from which on they are shown


class StageTimes:
    """Times of a running stage: its pace, its last step, and the rhythm of its lines."""

    def __init__(self) -> None:
        self.pace, self.rhythm = Pace(), LineRhythm()
        self.last_step = time.monotonic()
        self.seconds_left: float | None = None

    def step(self, progress: Progress) -> None:
        """The stage has moved on."""
        self.seconds_left, self.last_step = self.pace.seconds_left(progress), time.monotonic()

    def silence(self) -> str:
        """Time without a step, in words; empty where that is not long."""
        silent = time.monotonic() - self.last_step
        return f"no step for {duration(silent)}" if silent >= SILENT else ""


class RunProgress:
    """Shares of a run's stages that are done. The base of what shows them.

    Args:
        weights: expected FLOPs of each stage by key, to weigh stages against each other in the time left.
    """

    def __init__(self, weights: Mapping[str, float]):
        self.default = min((weight for weight in weights.values() if weight > 0), default=1.0)
        self.weights = weights
        self.running: dict[str, tuple[Stage, Progress | None]] = {}
        self.places: dict[str, str] = {}  # of those that run elsewhere, as " on HOST PID"
        self.times: dict[str, StageTimes] = {}
        self.started = time.monotonic()
        self.total = 0.0
        self.ended = 0.0

    def line(self, text: str) -> None:
        """Shows what has happened, in one line."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what is shown while the run goes on."""
        raise NotImplementedError

    @hookimpl
    def benchbench_plan_made(self, plan: Plan, done: list[str]) -> None:
        self.total = sum(self._weight(key) for key in plan.stages if key not in done)
        counts = f"{len(plan.cells)} cells, {len(plan.stages)} stages, {len(done)} done"
        self.line(f"{plan.suite.name}: {counts}; on {plan.devices.name}")

    @hookimpl
    def benchbench_stage_started(self, stage: Stage) -> None:
        self.running[stage.key], self.times[stage.key] = (stage, None), StageTimes()
        self.places.pop(stage.key, None)

    @hookimpl
    def benchbench_progress(self, stage: Stage, progress: Progress) -> None:
        self.moved(stage, progress)

    def moved(self, stage: Stage, progress: Progress) -> None:
        """Shows the progress of a stage, which another process may run."""
        self.running[stage.key] = (stage, progress)
        self.times.setdefault(stage.key, StageTimes()).step(progress)

    @hookimpl
    def benchbench_stage_elsewhere(self, stage: Stage, elsewhere: StageElsewhere) -> None:
        self.places[stage.key] = place = f" on {elsewhere.holder}"
        match elsewhere.status:
            case "running" if elsewhere.progress is not None:
                self.moved(stage, elsewhere.progress)
            case "running":
                self.running[stage.key], self.times[stage.key] = (stage, None), StageTimes()
                self.line(f"runs    {stage.label}{place}")
            case "finished" if elsewhere.record is not None:
                self._end(stage.key)
                self.line(f"done    {stage.label}: {_result(elsewhere.record)}{place}  [{self.position()}]")
            case "failed":
                self._end(stage.key)
                self.line(f"FAILED  {stage.label}{place}: {elsewhere.reason}")
            case "released":
                self._leave(stage.key)
                self.line(f"left    {stage.label}: no longer{place}")

    @hookimpl
    def benchbench_pilot_changed(self, pilot: Pilot) -> None:
        unusual = pilot.state == "ended" and pilot.reason
        self.line(f"job     {pilot}" + ("; its stages go on from their checkpoints" if unusual else ""))

    @hookimpl
    def benchbench_stage_finished(self, stage: Stage, record: StageRecord) -> None:
        self._end(stage.key)
        self.line(f"done    {stage.label}: {_result(record)}  [{self.position()}]")

    @hookimpl
    def benchbench_stage_failed(self, stage: Stage, reason: str) -> None:
        self._end(stage.key)
        self.line(f"FAILED  {stage.label}: {reason}")

    def state(self, key: str) -> str:
        """Epoch of a running stage in words, and how long it has taken no step where that is long."""
        silence = self.times[key].silence() if key in self.times else ""
        return ", ".join(filter(None, (epoch(self.running[key][1]), silence))) + self.places.get(key, "")

    def share(self) -> float:
        """Share of this run's work that has ended, 0..1."""
        current = sum(self._weight(key) * fraction(progress) for key, (_, progress) in self.running.items())
        return min(1.0, (self.ended + current) / self.total) if self.total else 1.0

    def position(self) -> str:
        """The share, the time since the start, and the expected rest."""
        share = self.share()
        seconds = time.monotonic() - self.started
        left = f", about {_clock(seconds / share - seconds)} left" if 0.02 < share < 1 else ""
        return f"{share:.0%}, {_clock(seconds)}{left}"

    def _leave(self, key: str) -> None:
        for times in (self.running, self.times, self.places):
            times.pop(key, None)

    def _end(self, key: str) -> None:
        self._leave(key)
        self.ended += self._weight(key)

    def _weight(self, key: str) -> float:
        return self.weights.get(key) or self.default


class TerminalProgress(RunProgress):
    """On standard error: a live table on a terminal, elsewhere lines: see `LineRhythm` for those of running stages."""

    def __init__(self, weights: Mapping[str, float]):
        super().__init__(weights)
        # The stream as it is now: a stage in this very process sends sys.stderr to its log.
        self.stream = sys.stderr
        self.console = Console(file=self.stream, force_jupyter=False)
        self.live: Live | None = None

    @hookimpl
    def benchbench_plan_made(self, plan: Plan, done: list[str]) -> None:
        super().benchbench_plan_made(plan, done)
        if self.console.is_terminal and self.total:
            self.live = Live(get_renderable=self._draw, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()

    def moved(self, stage: Stage, progress: Progress) -> None:
        super().moved(stage, progress)
        times = self.times[stage.key]
        if self.live is None and times.rhythm.is_due(progress):
            words = in_words(progress, times.seconds_left) + self.places.get(stage.key, "")
            self.line(f"runs    {stage.label}: {words}  [{self.position()}]")

    @hookimpl
    def benchbench_stage_silent(self, stage: Stage, seconds: float) -> None:
        if self.live is None:
            self.line(f"silent  {stage.label}: no step for {duration(seconds)}")

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def line(self, text: str) -> None:
        text = printable(text)
        # Text, not markup: labels and reasons are shown as they are.
        if self.console.is_terminal:
            self.console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def _draw(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for stage, progress in list(self.running.values()):
            bar = ProgressBar(total=1.0, completed=fraction(progress), width=24)
            table.add_row(Text("run"), Text(printable(stage.label)), bar, Text(self.state(stage.key)))
        return Group(table, Text(f"all     {self.position()}"))


def epoch(progress: Progress | None) -> str:
    """The epoch in words; empty for stages without any."""
    return f"epoch {progress.epoch}/{progress.epochs}" if progress and progress.epoch is not None else ""


def fraction(progress: Progress | None) -> float:
    """Share of a stage that is done, 0..1."""
    return progress.done / progress.total if progress and progress.total else 0.0


def _result(record: StageRecord) -> str:
    """The outcome of a stage in a few words, with its seconds where they are of interest."""
    match record:
        case TrainingRecord(metrics=metrics):
            result = "trained" if metrics.test_accuracy is None else f"{100 * metrics.test_accuracy:.1f} %"
        case OutputsRecord(metrics=metrics):
            result = f"{metrics.images:,} images" + (f", {_views(metrics.views)}" if metrics.views else "")
        case SynthesisRecord(metrics=metrics):
            refused = sum(metrics.rejected.values())
            more = f", {refused} attempts refused" if refused else ""
            return f"{metrics.images:,} images in {_seconds(record)}{more}"
        case QualityRecord(metrics=metrics):
            numbers = {"FID": (metrics.fid, 1), "precision": (metrics.precision, 2), "recall": (metrics.recall, 2)}
            result = ", ".join(
                f"{name} {value:.{digits}f}" for name, (value, digits) in numbers.items() if value is not None
            )
            result = result or f"{metrics.images:,} images"
        case DiffusionRecord(metrics=metrics):
            return f"loss {metrics.loss:.4f} after {metrics.steps:,} steps in {_seconds(record)}"
        case CalibrationRecord(metrics=metrics):
            return f"{metrics.images_per_second:.1f} images/s"
        case TuningRecord(metrics=metrics):
            return _choice(metrics)
    return f"{result} in {_seconds(record)}"


def _views(count: int) -> str:
    return "1 view" if count == 1 else f"{count} views"


def _seconds(record: StageRecord) -> str:
    return f"{sum(record.cost.seconds.values()):.1f} s"


def _choice(metrics: TuningMetrics) -> str:
    """The choice of a tuning stage, and its gain."""
    gain = metrics.step_seconds["plain"] / metrics.step_seconds["chosen"]
    return f"{gain:.2f} x a plain step ({', '.join(_options(metrics.execution)) or 'nothing gained'})"


def _options(execution: ExecutionRecord) -> list[str]:
    """Names of the options that differ from plain execution."""
    options = [name for name in ("channels_last", "fold_bn", "compile") if getattr(execution, name)]
    options += ["depthwise by taps"] if execution.depthwise else []
    return options + ([execution.precision] if execution.precision != "fp32" else [])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
