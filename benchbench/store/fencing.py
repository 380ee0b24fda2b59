"""Fences: nothing is renamed into place in the folder of a stage that this process does not hold any more.

A process may stand still for longer than its claim lives: a suspended laptop, a machine that swaps, a network that is
gone for a while. When it goes on, another has the stage, and may have finished it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchbench.store.claims import Claim

# Of this process, by the folder of the stage; one for the process, as its workers' threads write too.
_FENCES: dict[Path, Claim] = {}


def put_fence(folder: Path, claim: Claim) -> None:
    """Has every write into a stage's folder, and below it, look at the claim first."""
    _FENCES[folder.absolute()] = claim


def remove_fence(folder: Path) -> None:
    _FENCES.pop(folder.absolute(), None)


@contextlib.contextmanager
def fenced(folder: Path, claim: Claim | None) -> Iterator[None]:
    """A fence for a while; none without a claim."""
    if claim is None:
        yield
        return
    put_fence(folder, claim)
    try:
        yield
    finally:
        remove_fence(folder)


def fence_of(path: Path) -> Claim | None:
    """The claim on the stage that a file belongs to; None where there is no fence."""
    if not _FENCES:
        return None
    return next((claim for folder in path.absolute().parents if (claim := _FENCES.get(folder))), None)
