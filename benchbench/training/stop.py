"""A request to save a checkpoint and end: of a signal that announces the end of the job, or of the machine."""

from __future__ import annotations


class StageStopped(BaseException):
    """A stage that ends before its time, as it was asked to. No `Exception`: it is no failure of the stage."""


class StopRequest:
    """A request to the stage of this process, from the handler of a signal.

    Attributes:
        awaited: whether the stage looks for a request, and would save before it ends.
        reason: raised once the stage has saved; None while there is no request.
    """

    def __init__(self) -> None:
        self.awaited = False
        self.reason: BaseException | None = None

    @property
    def made(self) -> bool:
        return self.reason is not None

    def clear(self) -> None:
        """Forgets the last stage and its request."""
        self.awaited, self.reason = False, None

    def leave(self) -> None:
        """Ends the stage, which has saved, where that is asked for.

        Raises:
            BaseException: the request's reason.
        """
        if self.reason is not None:
            raise self.reason


# One for the process, as its signals are.
STOP = StopRequest()
