"""A process beside a worker, which trains one network with it: `python -m benchbench.executors.rank`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from benchbench.errors import one_line
from benchbench.executors.base import Event
from benchbench.executors.logs import redirect_files
from benchbench.executors.ranks import FAILED, HERE, RANK_SETTINGS, REASON_SECONDS, RankSettings
from benchbench.executors.worker import Worker
from benchbench.hardware.energy import StageMeter
from benchbench.hardware.lifetime import end_with_parent


class RankWorker(Worker):
    """One process beside the worker: it does the same work on its own share, and writes nothing."""

    def follow(self, own: RankSettings, here: Callable[[], None]) -> None:
        """Trains with the others; `here` is called before it waits for them.

        Raises:
            Exception: whatever ends the training here.
        """
        import torch

        from benchbench.executors.process_state import ProcessState
        from benchbench.stages import runner_of
        from benchbench.training.distributed import Meeting, World

        stage, device = own.stage, torch.device(self.settings.device)
        runner = importlib.import_module(runner_of(stage.spec))
        ProcessState(self.registry).load(stage.spec.components)
        here()
        world = World(Meeting(own.meeting, own.rank, 1 + len(stage.slots)), device)
        context = self._context(stage, StageMeter())
        runner.run(replace(context, world=world, report=lambda progress: None))
        world.leave()


def main() -> None:
    """Reads its settings from standard input, trains, and says on standard output why it failed, where it does."""
    end_with_parent(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the worker saves, and ends this one
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    stdin = os.fdopen(os.dup(0))
    sys.stdin, sys.stdout = open(os.devnull), open(os.devnull, "w")  # noqa: SIM115 (the worker prints the same)
    own = RANK_SETTINGS.validate_json(stdin.readline())
    threading.Thread(target=_end_with_input, args=(stdin,), daemon=True).start()
    try:
        RankWorker(own.worker, _ignore, redirect_files).follow(own, lambda: print(HERE, file=said))
    except BaseException as error:
        _fail(error, said)
    os._exit(0)


def _fail(error: BaseException, said: IO[str]) -> None:
    """Ends the process with a reason."""
    traceback.print_exception(error)
    from benchbench.training.distributed import LostProcessError

    if isinstance(error, LostProcessError):  # it is the other that has a reason; this one is ended with it
        time.sleep(2 * REASON_SECONDS)
    print(one_line(error), file=said)
    os._exit(FAILED)


def _ignore(_event: Event) -> None:
    """Takes no notice."""


def _end_with_input(stdin: IO[str]) -> None:
    stdin.read()
    os._exit(FAILED)


if __name__ == "__main__":
    main()
