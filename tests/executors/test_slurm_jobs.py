"""Output of Slurm 22.05 on a cluster without accounting, in our words."""

from __future__ import annotations

import pytest

from benchbench.executors.slurm_jobs import ending, job_fields, may_be_of_stage, queue_lines
from benchbench.specs.pilots import Pilot

SQUEUE = """\
2|PENDING|PartitionDown|
3|FAILED|BadConstraints|
7|FAILED|NonZeroExitCode|n2
8|RUNNING|None|n1
11|PENDING|Resources|
12|COMPLETING|None|n1
13|PENDING|ReqNodeNotAvail, UnavailableNodes:n1|
1|PENDING|PartitionTimeLimit|
"""
JOB = (
    "JobId=17 JobName=bb-t UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901744 Nice=0 Account=(null) "
    "QOS=(null) JobState={state} Reason={reason} Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 "
    "ExitCode={code} RunTime=00:01:02 TimeLimit=04:00:00 TimeMin=N/A SubmitTime=2026-11-27T22:26:22 "
    "AllocNode:Sid=localhost:9290 ReqNodeList=(null) ExcNodeList=(null) NodeList={nodes} BatchHost=n1 NumNodes=1 "
    "ReqB:S:C:T=0:0:*:* Command=/tmp/a job/run.sh WorkDir=/tmp/a job StdErr=/tmp/17.log Power= \n"
)


def test_jobs_of_the_queue():
    lines = queue_lines(SQUEUE)
    assert {job for job, line in lines.items() if line.has_ended} == {"3", "7"}
    open_jobs = {job: line.pilot() for job, line in lines.items() if not line.has_ended}
    assert open_jobs == {
        "2": Pilot("2", "queued", "PartitionDown"),
        "8": Pilot("8", "running", "on n1"),
        "11": Pilot("11", "queued"),
        "12": Pilot("12", "running", "on n1"),
        "13": Pilot("13", "queued", "ReqNodeNotAvail, UnavailableNodes:n1"),
        "1": Pilot("1", "queued", "PartitionTimeLimit", hopeless=True),
    }


def test_an_empty_queue():
    assert queue_lines("") == {}


@pytest.mark.parametrize(
    ("state", "reason", "code", "nodes", "words"),
    [
        ("COMPLETED", "None", "0:0", "n1", ""),
        ("NODE_FAIL", "NodeDown", "0:0", "n2", "NODE_FAIL on n2"),
        ("TIMEOUT", "TimeLimit", "0:15", "n1", "TIMEOUT after 4:00:00 on n1"),
        ("CANCELLED", "None", "0:15", "n2", "CANCELLED on n2"),
        ("CANCELLED", "PartitionTimeLimit", "0:0", "(null)", "CANCELLED"),
        ("OUT_OF_MEMORY", "OutOfMemory", "0:125", "n[1-2]", "OUT_OF_MEMORY on n[1-2]"),
        ("PREEMPTED", "None", "0:0", "n1", "PREEMPTED on n1"),
        ("FAILED", "NonZeroExitCode", "3:0", "n2", "FAILED on n2 (exit code 3; see LOG)"),
        ("FAILED", "NonZeroExitCode", "1:0", "n2", "FAILED on n2 (exit code 1, as where a stage has failed; see LOG)"),
        ("FAILED", "NonZeroExitCode", "143:0", "n2", ""),
        ("FAILED", "JobLaunchFailure", "0:9", "n2", "FAILED on n2 (JobLaunchFailure, killed by SIGKILL; see LOG)"),
        ("FAILED", "BadConstraints", "0:0", "(null)", "FAILED (BadConstraints; see LOG)"),
    ],
)
def test_endings(state, reason, code, nodes, words):
    fields = job_fields(JOB.format(state=state, reason=reason, code=code, nodes=nodes))
    assert (fields["JobState"], fields["Command"], fields["Power"]) == (state, "/tmp/a job/run.sh", "")
    assert ending(fields, "LOG") == words


@pytest.mark.parametrize(
    ("reason", "blamed"),
    [
        ("", False),
        ("TIMEOUT after 4:00:00 on n1", False),
        ("PREEMPTED on n1", False),
        ("FAILED on n2 (exit code 1, as where a stage has failed; see LOG)", False),
        ("OUT_OF_MEMORY on n1", True),
        ("NODE_FAIL on n1", True),
        ("FAILED on n2 (killed by SIGKILL; see LOG)", True),
    ],
)
def test_ends_that_may_be_the_doing_of_a_stage(reason, blamed):
    assert may_be_of_stage(reason) == blamed


def test_an_ending_of_which_little_is_known():
    assert ending({"JobState": "TIMEOUT", "NodeList": "n1"}, "LOG") == "TIMEOUT after its time limit on n1"
    assert ending({}, "LOG") == "ended"
