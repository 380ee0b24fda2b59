"""Errors that reach a user, each one line: the problem, its location and a remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path


class BenchBenchError(Exception):
    """Base of all errors that the command line prints as one line with exit code 2."""


class SuiteError(BenchBenchError):
    """A suite file (or an override of it) that cannot be used.

    Args:
        problem: in one clause.
        path: the suite file.
        line: 1-based line in that file.
        hint: a remedy.
    """

    def __init__(self, problem: str, path: Path | str | None = None, line: int | None = None, hint: str = ""):
        self.problem, self.path, self.line, self.hint = problem, path, line, hint
        location = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(f"{location}{problem}{'; ' + hint if hint else ''}")


class PluginError(BenchBenchError):
    """A plugin that cannot be loaded, or two that claim one name."""


class StoreError(BenchBenchError):
    """A store that is in use, was written by another version, or holds a damaged stage."""


class DataError(BenchBenchError):
    """A data set that is absent, unreadable, or other than the suite describes."""


class WeightsError(BenchBenchError):
    """Weights that are absent, unreadable, or do not fit the model."""


class StageError(BenchBenchError):
    """A stage that failed while it ran; the others go on."""


class ExportError(BenchBenchError):
    """A student that cannot be exported in the requested form."""


class UnknownNameError(BenchBenchError):
    """A name that no component, model or option has."""


def one_line(error: BaseException | str) -> str:
    """An error as one printable line: no line breaks, no control characters."""
    text = error if isinstance(error, str) else str(error) or type(error).__name__
    if isinstance(error, BaseException) and not isinstance(error, BenchBenchError):
        text = f"{type(error).__name__}: {text}" if str(error) else text
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name, or the known names when none is close."""
    known = sorted(set(known))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if not known:
        return "there is none"
    names = ", ".join(known[:12])
    return f"known: {names}{', ...' if len(known) > 12 else ''}"
