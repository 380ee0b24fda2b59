"""The request for contact sheets of wrong test images; imports nothing that takes time, for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchbench.errors import BenchBenchError

MOST_IMAGES = 24  # in the sheet of one run


@dataclass(frozen=True)
class SheetRequest:
    """The sheets that a page is asked for.

    Attributes:
        count: images of a sheet, 1 to `MOST_IMAGES`.
        data_root: the folder of downloads.
    """

    count: int
    data_root: Path


def sheet_request(count: int, data_root: Path) -> SheetRequest | None:
    """A request for sheets of so many images; None for none.

    Raises:
        BenchBenchError: a sheet has no room for so many.
    """
    if not 0 <= count <= MOST_IMAGES:
        raise BenchBenchError(f"a sheet of wrong test images has 0 to {MOST_IMAGES} images, and not {count}")
    return SheetRequest(count, data_root) if count else None
