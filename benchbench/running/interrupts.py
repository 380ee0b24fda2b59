"""Ctrl-C and other signals that end a run, none of them lost: Python drops an exception that is raised while an object
is destroyed.

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

from benchbench.training.stop import STOP

Handler = Callable[[int, FrameType | None], Any] | int | None
# The end of the process, of the terminal, or of a scheduler's job: Slurm's `--signal` may name any of them.
ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Terminated(KeyboardInterrupt):
    """The end of a run by a signal other than Ctrl-C.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class RememberedInterrupts(contextlib.ContextDecorator):
    """Raises KeyboardInterrupt at Ctrl-C as Python does, and `Terminated` at other signals; again where it was lost.

    A stage of this very process saves a checkpoint before it is `Terminated`. A context, or the decorator of a
    function. It may be nested. Signals that the process ignores or handles by itself, and threads other than the main
    one, stay as they are.
    """

    def __init__(self) -> None:
        self._pending = 0
        self._before: dict[int, Handler] = {}

    def _recreate_cm(self) -> RememberedInterrupts:
        return type(self)()  # one for each call of a decorated function

    def __enter__(self) -> RememberedInterrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ENDINGS):
                before = signal.getsignal(number)
                taken = callable(before) if number == signal.SIGINT else _is_ours(before) or before == signal.SIG_DFL
                if taken:
                    self._before[number] = before
                    signal.signal(number, self._remember)
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        if number != signal.SIGINT and STOP.awaited and not STOP.made:
            STOP.reason = Terminated(number)
            return
        self._pending = number
        if callable(before):
            before(number, frame)
        else:
            self.check()

    def check(self) -> None:
        """Raises KeyboardInterrupt if there was one and the program still goes on."""
        if self._pending:
            raise KeyboardInterrupt if self._pending == signal.SIGINT else Terminated(self._pending)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._before and not any(map(_is_ours, self._before.values())):
            STOP.clear()
        if error is None or isinstance(error, SystemExit):
            self.check()


def _is_ours(handler: Handler) -> bool:
    """True where a handler is that of a context around this one."""
    return isinstance(getattr(handler, "__self__", None), RememberedInterrupts)
