"""Jobs of Slurm as its programs print them; accounting may be off, so that squeue and scontrol have to do."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from benchbench.specs.pilots import Pilot

SQUEUE_FORMAT = "%i|%T|%r|%N"
QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
ENDED = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "BOOT_FAIL",
    "DEADLINE",
    "REVOKED",
    "LAUNCH_FAILED",
    "RECONFIG_FAIL",
}
# Reasons to wait that no end of another job takes away. An administrator may: ReqNodeNotAvail and PartitionDown are
# shown, and waited for.
HOPELESS = {
    "BadConstraints",
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "PartitionConfig",
    "AccountNotAllowed",
    "QOSNotAllowed",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
    "DependencyNeverSatisfied",
    "AssocMaxCpuPerJobLimit",
    "AssocMaxNodePerJobLimit",
    "AssocMaxWallDurationPerJobLimit",
    "QOSMaxWallDurationPerJobLimit",
    "QOSMaxGRESPerJob",
    "QOSMaxCpuPerJobLimit",
    "QOSMaxMemoryPerJob",
}
# Exit codes of `benchbench work` that end its job well: nothing is left or its time is up, and told to save and end.
GOOD_CODES = {"0", str(128 + signal.SIGTERM)}
FAILED_CODE = "1"  # some stages failed
# Reasons of the queue itself, which need no word.
USUAL = {"None", "Priority", "Resources", ""}
_FIELD = re.compile(r"(?:^| )([A-Za-z][\w/:]*)=(.*?)(?= [A-Za-z][\w/:]*=|\s*$)")


@dataclass(frozen=True)
class QueueLine:
    """A job in the output of squeue."""

    job: str
    state: str
    reason: str
    nodes: str

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def pilot(self) -> Pilot:
        """The pilot of a job that has not ended."""
        if self.state not in QUEUED:
            return Pilot(self.job, "running", f"on {self.nodes}" if self.nodes else "")
        reason = "" if self.reason in USUAL else self.reason
        return Pilot(self.job, "queued", reason, self.reason.partition(",")[0] in HOPELESS)


def queue_lines(text: str) -> dict[str, QueueLine]:
    """Jobs of an output of squeue in `SQUEUE_FORMAT`, by their numbers."""
    rows = [line.strip().split("|") for line in text.splitlines() if line.count("|") == 3]
    return {row[0]: QueueLine(*row) for row in rows}


def job_fields(text: str) -> dict[str, str]:
    """Fields of one job in an output of `scontrol show job --oneliner`."""
    return {name: value.strip() for name, value in _FIELD.findall(text.strip())}


def ending(job: Mapping[str, str], log: str) -> str:
    """The reason of a job's end, in words; empty where it ended by itself.

    Args:
        job: the fields JobState, ExitCode, Reason, NodeList and TimeLimit, as far as they are known.
        log: where its output is.
    """
    state = job.get("JobState", "")
    code, _, number = job.get("ExitCode", "").partition(":")
    if state == "COMPLETED" or (state == "FAILED" and number == "0" and code in GOOD_CODES - {"0"}):
        return ""
    nodes = job.get("NodeList", "")
    place = f" on {nodes}" if nodes not in ("", "(null)", "None assigned") else ""
    if state == "TIMEOUT":
        return f"TIMEOUT after {_clock(job.get('TimeLimit', 'its time limit'))}{place}"
    if state != "FAILED":
        return f"{state or 'ended'}{place}"
    if number not in ("", "0") and job.get("Reason") != "NonZeroExitCode":
        why = f"{job.get('Reason')}, {_signal(number)}"
    elif number not in ("", "0"):
        why = _signal(number)
    elif code == FAILED_CODE:
        why = "exit code 1, as where a stage has failed"
    elif code not in ("", "0"):
        why = f"exit code {code}"
    else:
        why = job.get("Reason", "")
    return f"FAILED{place} ({why}; see {log})"


def may_be_of_stage(reason: str) -> bool:
    """True where a job's end may be the doing of the stages that it had, as a node without memory is."""
    others = reason.startswith(("TIMEOUT", "PREEMPTED", "CANCELLED", "DEADLINE")) or "(exit code 1," in reason
    return bool(reason) and not others


def _signal(number: str) -> str:
    try:
        return f"killed by {signal.Signals(int(number)).name}"
    except ValueError:
        return f"killed by signal {number}"


def _clock(time: str) -> str:
    """04:00:00 as 4:00:00."""
    return re.sub(r"^0(?=\d)", "", time)
