"""Logs of stages: their text, and the output of a process that goes to them for a while."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from benchbench.errors import one_line
from benchbench.store import StageFolder

TRACEBACK = 200_000  # characters of one in a log


def open_log(folder: StageFolder) -> TextIO:
    """A stage's log, to add to; it takes any text, lone surrogates too."""
    return folder.log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)


def reason_of(error: Exception) -> str:
    """An error in one line that every file and stream takes."""
    return one_line(error)[:1000].encode(errors="backslashreplace").decode()


def shortened(text: str) -> str:
    """A traceback without its middle where that is very long: a message of megabytes, say."""
    if len(text) <= TRACEBACK:
        return text
    half = TRACEBACK // 2
    return f"{text[:half]}\n... {len(text) - TRACEBACK:,} characters left out ...\n{text[-half:]}"


@contextlib.contextmanager
def redirect_files(log: TextIO) -> Iterator[None]:
    """Sends file descriptors 1 and 2 to a log, and so the output of C libraries too."""
    saved = os.dup(1), os.dup(2)
    for descriptor in (1, 2):
        os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
