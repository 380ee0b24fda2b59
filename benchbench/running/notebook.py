"""Progress of a run in a notebook, in one place that is drawn again; needs IPython alone."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from benchbench.components import hookimpl
from benchbench.planning.model import Stage
from benchbench.running.progress import RunProgress, TerminalProgress, fraction
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.records import Progress

SECONDS = 0.5  # between two drawings
LINES = 200  # of the latest stages; those that failed are all shown


def notebook_shell() -> Any:
    """IPython's shell where it is a notebook's, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


class NotebookProgress(RunProgress):
    """A bar, the running stages, and those that have ended."""

    def __init__(self, weights: Mapping[str, float]):
        super().__init__(weights)
        self.title = ""
        self.lines: deque[str] = deque(maxlen=LINES)
        self.failures: list[str] = []
        self.is_closed = False
        self._display: Any = None
        self._next = 0.0

    @hookimpl
    def benchbench_stage_started(self, stage: Stage) -> None:
        super().benchbench_stage_started(stage)
        self._draw()

    @hookimpl
    def benchbench_progress(self, stage: Stage, progress: Progress) -> None:
        super().benchbench_progress(stage, progress)
        self._draw()

    @hookimpl
    def benchbench_stage_elsewhere(self, stage: Stage, elsewhere: StageElsewhere) -> None:
        super().benchbench_stage_elsewhere(stage, elsewhere)
        self._draw()

    @hookimpl
    def benchbench_stage_silent(self, stage: Stage, seconds: float) -> None:
        self._draw()

    def line(self, text: str) -> None:
        if not self.title:
            self.title = text
        elif text.startswith("FAILED"):
            self.failures.append(text)
        else:
            self.lines.append(text)
        self._draw()

    def close(self) -> None:
        self.is_closed = True
        self._next = 0.0
        self._draw()
        self.running.clear()

    def _draw(self) -> None:
        if time.monotonic() < self._next:
            return
        content = {"text/html": self.html(), "text/plain": self.text()}
        if self._display is None:
            from IPython.display import display

            self._display = display(content, raw=True, display_id=True)
        else:
            self._display.update(content, raw=True)
        self._next = time.monotonic() + SECONDS

    def text(self) -> str:
        """The progress as text."""
        running = [f"run     {stage.label} {self.state(stage.key)}".rstrip() for stage, _ in self.running.values()]
        return "\n".join([self.title, *self.lines, *self.failures, *running, f"all     {self._state()}"])

    def html(self) -> str:
        """The progress as HTML; all text is escaped."""
        rows = [
            f"<tr><td>{escape(stage.label)}</td><td>{_bar(fraction(progress))}</td><td>{self.state(stage.key)}</td></tr>"
            for stage, progress in self.running.values()
        ]
        parts = [f"<div>{escape(self.title)}</div>", f"<div>{_bar(self.share())} {self._state()}</div>"]
        parts += [f"<table>{''.join(rows)}</table>"] if rows else []
        parts += [f"<div><strong>{escape(line)}</strong></div>" for line in self.failures]
        if self.lines:
            lines = escape("\n".join(self.lines))
            parts.append(f"<details><summary>stages that are done</summary><pre>{lines}</pre></details>")
        return f'<div class="tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'

    def _state(self) -> str:
        if self.is_closed and self.share() < 1:
            return f"{self.share():.0%}; stopped: run it again to go on from its checkpoints"
        return self.position()


@contextlib.contextmanager
def shown_progress(progress: bool | None, weights: Mapping[str, float]) -> Iterator[list[RunProgress]]:
    """Views of a run's progress, as its listeners; none where it is not wanted.

    Args:
        progress: None: in a notebook, and on a terminal.
        weights: as of `RunProgress`.
    """
    in_notebook = notebook_shell() is not None
    if progress is False or (progress is None and not in_notebook and not sys.stderr.isatty()):
        yield []
        return
    with contextlib.closing((NotebookProgress if in_notebook else TerminalProgress)(weights)) as view:
        yield [view]


def _bar(share: float) -> str:
    return f'<progress max="1" value="{share:.3f}"></progress>'
