"""A command of BenchBench in this process, judged: exit code 0, or one line and exit code 2; nothing else."""

from __future__ import annotations

import contextlib
import io
import os
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from benchbench.cli.main import main
from benchbench.errors import printable
from tests.networks import fake_process, in_this_process, network_cost

MOST_LINE = 1200  # characters of an error: paths, a value of 80 characters, and words


@dataclass(frozen=True)
class Ended:
    """An ended command; `crash` is the traceback of an exception that left it."""

    code: int
    out: str
    err: str
    crash: str = ""


def call(*arguments: object) -> Ended:
    """Runs a command here."""
    out, err, crash, code = io.StringIO(), io.StringIO(), "", -1
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            crash = traceback.format_exc()
    return Ended(code, out.getvalue(), err.getvalue(), crash)


def fault_of(ended: Ended, place: str = "") -> str:
    """The rule that an ended command breaks; empty where it keeps all.

    Args:
        ended: the command.
        place: pattern of what stands before the problem in an error.
    """
    if ended.crash:
        return f"traceback: {ended.crash.strip().splitlines()[-1][:300]}"
    if "Traceback" in ended.out + ended.err:
        return f"traceback printed: {(ended.out + ended.err)[-300:]}"
    if ended.code == 0:
        return ""
    if ended.code != 2:
        return f"exit code {ended.code}: {ended.err[:300]}"
    lines = ended.err.splitlines()
    if len(lines) != 1 or not lines[0].startswith("error: ") or printable(lines[0]) != lines[0]:
        return f"not one line: {ended.err[:300]!r}"
    if len(lines[0]) > MOST_LINE or re.search(r"x{81}", lines[0]):
        return f"too long: {lines[0][:300]}"
    if not re.match(f"error: {place}", lines[0]):
        return f"no place: {lines[0][:300]}"
    return ""


@contextlib.contextmanager
def networks(cache: Path, built: bool) -> Iterator[None]:
    """Keeps a plan from starting a process for its networks; nothing reaches the user's cache.

    Args:
        cache: in place of the user's.
        built: they are built here; else each is taken for a small one that exists.
    """
    answer = in_this_process if built else fake_process({}, default=network_cost(1e9))
    here = mock.patch("benchbench.costs.flops.subprocess", SimpleNamespace(run=answer))
    with here, mock.patch.dict(os.environ, XDG_CACHE_HOME=str(cache)):
        yield
