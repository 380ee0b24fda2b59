"""A stage that another process on the store runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchbench.specs.records import Progress, StageRecord


@dataclass(frozen=True)
class StageElsewhere:
    """News of a stage that another process on the store runs.

    Attributes:
        status: "running"; "finished", with its record; "failed", with its reason; or "released": given up by its
            holder, or lost with it, so that it is to be run again.
        holder: host and number of the process.
        progress: of a running one; None where there was no report yet.
        record: of a finished one.
        reason: of a failed one.
    """

    status: Literal["running", "finished", "failed", "released"]
    holder: str
    progress: Progress | None = None
    record: StageRecord | None = None
    reason: str = ""
