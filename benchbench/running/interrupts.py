"""Ctrl-C that is not lost: Python drops an exception that is raised while an object is destroyed.

The finalizer of an object, the callback of a weak reference (`import` has one for each module) and the end of a
generator that is let go run at any moment. If the signal comes then, Python prints "Exception ignored in ..." and the
program goes on. See `sys.unraisablehook`. Code of libraries that catches every exception loses it too.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


class RememberedInterrupts(contextlib.ContextDecorator):
    """Raises KeyboardInterrupt at Ctrl-C as Python does, and again where that was lost.

    A context, or the decorator of a function. It may be nested. It leaves a process that ignores SIGINT, and threads
    other than the main one, as they are.
    """

    def __init__(self) -> None:
        self._pending = False
        self._before: Handler | None = None

    def _recreate_cm(self) -> RememberedInterrupts:
        return type(self)()  # one for each call of a decorated function

    def __enter__(self) -> RememberedInterrupts:
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._remember)
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._pending = True
        assert self._before is not None
        self._before(number, frame)

    def check(self) -> None:
        """Raises KeyboardInterrupt if there was one and the program still goes on."""
        if self._pending:
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if error is None or isinstance(error, SystemExit):
            self.check()
