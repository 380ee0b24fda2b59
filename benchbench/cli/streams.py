"""Standard streams that a command can always write to: closed ones lead nowhere, and so do pipes that nobody reads."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Makes the standard streams of this process safe to use; those that something else has taken over stay."""
    _open_closed()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None or (stream is getattr(sys, f"__{name}__") and not isinstance(_raw(stream), _Output)):
            setattr(sys, name, _stream(descriptor))


def _open_closed() -> None:
    """Opens closed descriptors: a file that is opened later would take the place of standard output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor is this one, since those below it are open.
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)


def drop_unwritten() -> None:
    """Lets go of what a full disk does not take, so that the end of the process does not try again."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            _lead_nowhere(descriptor)


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _stream(descriptor: int) -> TextIO:
    raw = _Output(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(sys.__stdout__, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a name that is no UTF-8 is no reason to fail
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )


def _raw(stream: TextIO) -> object:
    return getattr(getattr(stream, "buffer", None), "raw", None)


class _Output(io.FileIO):
    """A descriptor whose output is dropped once its reader is gone, as that of `| head` is: the command goes on."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            _lead_nowhere(self.fileno())
            return memoryview(data).nbytes  # type: ignore[arg-type]
