"""Errors that reach a user, each one line: the problem, its location and a remedy."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

# Characters of a value that an error quotes, of a word that no path has, and names that a typo is compared with.
MOST_QUOTED, LONGEST_WORD, MOST_COMPARED = 80, 300, 2000


_QUOTED_VALUE = re.compile(rf"(?<![^\s(])(['\"])((?:(?!\1).){{{MOST_QUOTED + 1},}})\1(?=[\s;:,.)]|$)", flags=re.DOTALL)


class BenchBenchError(Exception):
    """Base of all errors that the command line prints as one line with exit code 2; long values in quotes are cut."""

    def __init__(self, *arguments: object):
        super().__init__(*(short_quotes(each) if isinstance(each, str) else each for each in arguments))


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


class ClaimLostError(BenchBenchError):
    """A stage that another process has taken over, since this one stood still for too long; nothing is written."""


class DataError(BenchBenchError):
    """A data set that is absent, unreadable, or other than the suite describes."""


class WeightsError(BenchBenchError):
    """Weights that are absent, unreadable, or do not fit the model."""


class StageError(BenchBenchError):
    """A stage that failed while it ran; the others go on."""


class DivergedError(StageError):
    """A training whose loss, weights or outputs are no longer finite."""


class GlobalStateError(StageError):
    """A cell that has changed the state of its process, torch's default dtype say, beside others: it is to run alone.

    Args:
        changes: in words.
        own: false where it may be the doing of another cell.
    """

    def __init__(self, changes: Iterable[str], own: bool = True):
        self.changes, self.own = list(changes), own
        where = "" if own else " by a cell beside it"
        super().__init__(f"the state of the process was changed{where}: {', '.join(self.changes)}")


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
    return named or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(message_of(error)) is not None)


def breaks_device(error: BaseException) -> bool:
    """True where the process can no longer use its GPU: another one can."""
    return any(isinstance(each, RuntimeError) and _BROKEN_DEVICE.search(message_of(each)) for each in _chain(error))


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


def message_of(error: BaseException) -> str:
    """An error's message, even of one whose `__str__` fails."""
    try:
        return str(error)
    except Exception as failure:
        return f"its message cannot be read ({type(failure).__name__})"


def one_line(error: BaseException | str) -> str:
    """An error as one printable line."""
    if isinstance(error, str):
        return printable(error).strip()
    message = message_of(error)
    text = message or type(error).__name__
    if not isinstance(error, BenchBenchError):
        text = f"{type(error).__name__}: {message}" if message else text
    return printable(text).strip()


# Characters that a terminal or an editor obeys instead of showing them: control characters, those that change the
# direction of others or have no width, and halves of a pair (of bytes that are no UTF-8, say), which cannot be written.
_OBEYED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""A text with escapes (`\x1b`, `\u202e`) for characters that are obeyed, not shown; line breaks and tabs stay."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def printable(text: str) -> str:
    """The same in one line: line breaks and tabs become spaces."""
    return visible(re.sub(r"[\t\n\x0b\x0c\r\x85\u2028\u2029]+", " ", text))


def is_unicode(text: str) -> bool:
    """False for a text with half a character (a lone surrogate), which escapes can write and no file can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def quoted(value: object) -> str:
    """A value as an error shows it: printable, in one line, and of a long one the beginning and the end."""
    text = one_line(value if isinstance(value, str) else repr(value))
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 30]}...{text[-27:]}"


def short_quotes(text: str) -> str:
    """A line in which a value that stands in quotes is cut as `quoted` cuts it; an apostrophe is no quote."""
    return _QUOTED_VALUE.sub(lambda value: f"{value[1]}{quoted(value[2])}{value[1]}", text)


def short_words(text: str) -> str:
    """A line whose overlong words, which a library may have quoted, are cut as `quoted` cuts them."""
    return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: quoted(word[0]), text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name, in whatever case, or the known names when none is close."""
    known = sorted(set(known))
    folded = {each.casefold(): each for each in known[MOST_COMPARED - 1 :: -1]}
    # Nobody mistypes so long a name, and comparing it would take long.
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6) if len(name) <= MOST_QUOTED else []
    if close:
        return f"did you mean '{quoted(folded[close[0]])}'?"
    if not known:
        return "there is none"
    names = ", ".join(quoted(each) for each in known[:16])
    return f"known: {names}{', ...' if len(known) > 16 else ''}"
