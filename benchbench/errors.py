"""Errors that reach a user, each one line: the problem, its location and a remedy."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable, Iterator
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


# Torch has a class for its own allocator alone: the libraries beneath it, and allocations past it, name their status.
_OUT_OF_MEMORY = re.compile(
    r"CUDA (driver )?error: out of memory|_STATUS_ALLOC_FAILED|_ALLOCATION_FAILED|not enough memory: you tried|"
    r"can't allocate memory: you tried"
)
# Errors after which, by the CUDA runtime's reference (cudaError_t), every further call of the process fails; and those
# by which its libraries report one of them.
_BROKEN_DEVICE = re.compile(
    r"device-side assert|an illegal memory access|unspecified launch failure|the launch timed out and was terminated|"
    r"an illegal instruction was encountered|misaligned address|invalid program counter|hardware stack error|"
    r"operation not supported on global/shared address space|uncorrectable (ECC|NVLink) error|"
    r"CUDA error: unknown error|CU(BLAS|DNN|FFT|SOLVER|SPARSE)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR)\b"
)


def is_out_of_memory(error: BaseException) -> bool:
    """True where memory ran out, of the machine or of its GPU: less work at once may succeed."""
    if isinstance(error, MemoryError):
        return True
    # By name: torch takes seconds to import.
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return named or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None)


def breaks_device(error: BaseException) -> bool:
    """True where the process can no longer use its GPU: another one can."""
    return any(isinstance(each, RuntimeError) and _BROKEN_DEVICE.search(str(each)) for each in _chain(error))


def clear_frames(error: BaseException) -> None:
    """Lets go of the variables that an error's tracebacks hold: all activations of a step, say. They stay printable."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it."""
    chain: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    for each in queue:
        if each is not None and each not in chain:
            chain.append(each)
            queue += [each.__cause__, each.__context__]
            yield each


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
