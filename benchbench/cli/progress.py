"""What a run says while it runs: a live table on a terminal, a line a stage elsewhere. A plugin like any other."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchbench.components import hookimpl
from benchbench.plan.model import Plan, Stage


class Progress:
    """Shows what runs, how far it is, and when all of it will end.

    Args:
        weights: expected effort of each stage (FLOPs), to weigh stages against each other in the time left.
    """

    def __init__(self, weights: dict[str, float]):
        self.console = Console(stderr=True)
        known = [weight for weight in weights.values() if weight > 0]
        self.default = min(known, default=1.0)
        self.weights = weights
        self.running: dict[str, tuple[Stage, dict[str, Any]]] = {}
        self.live: Live | None = None
        self.started = time.monotonic()
        self.total = 0.0
        self.behind = 0.0

    @hookimpl
    def benchbench_plan_made(self, plan: Plan, done: list[str]) -> None:
        self.total = sum(self._weight(key) for key in plan.stages if key not in done)
        counts = f"{len(plan.cells)} cells, {len(plan.stages)} stages, {len(done)} done"
        self._say(f"{plan.suite.name}: {counts}; on {plan.devices.name}")
        if self.console.is_terminal and self.total:
            self.live = Live(get_renderable=self._draw, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()

    @hookimpl
    def benchbench_stage_started(self, stage: Stage) -> None:
        self.running[stage.key] = (stage, {})

    @hookimpl
    def benchbench_progress(self, stage: Stage, progress: dict[str, Any]) -> None:
        self.running[stage.key] = (stage, progress)

    @hookimpl
    def benchbench_stage_finished(self, stage: Stage, record: dict[str, Any]) -> None:
        self._end(stage.key)
        self._say(f"done    {stage.label}: {_result(record)}  [{self._position()}]")

    @hookimpl
    def benchbench_stage_failed(self, stage: Stage, reason: str) -> None:
        self._end(stage.key)
        self._say(f"FAILED  {stage.label}: {reason}")

    def close(self) -> None:
        """Gives the terminal back."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _end(self, key: str) -> None:
        self.running.pop(key, None)
        self.behind += self._weight(key)

    def _weight(self, key: str) -> float:
        return self.weights.get(key) or self.default

    def _share(self) -> float:
        """Share of this run's work that is behind it."""
        current = sum(self._weight(key) * _fraction(progress) for key, (_, progress) in self.running.items())
        return min(1.0, (self.behind + current) / self.total) if self.total else 1.0

    def _position(self) -> str:
        share = self._share()
        spent = time.monotonic() - self.started
        left = f", about {_clock(spent / share - spent)} left" if 0.02 < share < 1 else ""
        return f"{share:.0%}, {_clock(spent)}{left}"

    def _draw(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for stage, progress in list(self.running.values()):
            epoch = f"epoch {progress['epoch']}/{progress['epochs']}" if "epoch" in progress else ""
            bar = ProgressBar(total=1.0, completed=_fraction(progress), width=24)
            table.add_row(Text("run"), Text(stage.label), bar, Text(epoch))
        return Group(table, Text(f"all     {self._position()}"))

    def _say(self, line: str) -> None:
        # Text, not markup: labels and reasons are shown as they are.
        if self.console.is_terminal:
            self.console.print(Text(line), soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _fraction(progress: dict[str, Any]) -> float:
    return progress["done"] / progress["total"] if progress.get("total") else 0.0


def _result(record: dict[str, Any]) -> str:
    metrics, seconds = record["metrics"], sum(record["cost"]["seconds"].values())
    if "test_accuracy" in metrics:
        return f"{100 * metrics['test_accuracy']:.1f} % in {seconds:.1f} s"
    if "rejected" in metrics:
        refused = sum(metrics["rejected"].values())
        return f"{metrics['images']:,} images in {seconds:.1f} s" + (f", {refused} attempts refused" if refused else "")
    if "fid" in metrics:
        numbers = f"FID {metrics['fid']:.1f}, precision {metrics['precision']:.2f}, recall {metrics['recall']:.2f}"
        return f"{numbers} in {seconds:.1f} s"
    if "loss" in metrics:
        return f"loss {metrics['loss']:.4f} after {metrics['steps']:,} steps in {seconds:.1f} s"
    if "images_per_second" in metrics:
        return f"{metrics['images_per_second']:.1f} images/s"
    if "execution" in metrics:
        return _choice(metrics)
    views = f", {metrics['views']} views" if metrics["views"] else ""
    return f"{metrics['images']:,} images{views} in {seconds:.1f} s"


def _choice(metrics: dict[str, Any]) -> str:
    """What a measurement chose, and what it gained."""
    chosen = metrics["execution"]
    words = [name for name in ("channels_last", "fold_bn", "compile") if chosen[name]]
    words += ["depthwise by taps"] if chosen["depthwise"] else []
    words += [chosen["precision"]] if chosen["precision"] != "fp32" else []
    seconds = metrics["step_seconds"]
    gain = seconds["plain"] / seconds["chosen"]
    return f"{gain:.2f} x a plain step ({', '.join(words) or 'nothing gained'})"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
