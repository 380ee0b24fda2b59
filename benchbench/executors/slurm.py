"""Pilot jobs on a Slurm cluster, by its own programs: sbatch, squeue, scontrol and scancel; no accounting is needed."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from benchbench.errors import BenchBenchError, did_you_mean, one_line
from benchbench.executors.base import DeviceRequest
from benchbench.executors.pilots import (
    NAME_VARIABLE,
    EngineError,
    PilotExecutor,
    PilotShape,
    WorkOrder,
    pilot_devices,
    remembered_devices,
    workers_on_cpu,
)
from benchbench.executors.slurm_jobs import SQUEUE_FORMAT, QueueLine, ending, job_fields, may_be_of_stage, queue_lines
from benchbench.executors.slurm_params import SlurmParams
from benchbench.hardware.devices import CORES_VARIABLE, GRANTED_VARIABLE, SUBMITTED_VARIABLE, Devices
from benchbench.specs.pilots import Pilot

SECONDS = 60.0  # for an answer of the cluster
CANCEL_POLL = 0.5


class SlurmExecutor(PilotExecutor):
    """Jobs of one name, so that a run finds those of an earlier one that was killed.

    Slurm's own requeueing is off, since it is charged to nobody: what a job had begun is taken on by the others. A job
    is told to save `save_seconds` before its limit.
    """

    def __init__(self, order: WorkOrder):
        super().__init__(order)
        if not isinstance(order.params, SlurmParams):
            raise TypeError("it takes SlurmParams")
        if not shutil.which("sbatch"):
            raise EngineError(
                "executor 'slurm': there is no sbatch on this machine; start the run on a node of the cluster that has "
                "it, or use --executor local"
            )
        self.params = order.params
        self._ended: dict[str, Pilot] = {}
        self._asked = -float("inf")
        self._lines = self._queue()
        self._jobs = [job for job, line in self._lines.items() if not line.has_ended]

    @classmethod
    def find_devices(cls, request: DeviceRequest) -> Devices:
        params = request.params
        if not isinstance(params, SlurmParams):
            raise TypeError("it takes SlurmParams")
        kind = request.device.partition(":")[0]
        if kind == "auto":
            kind = params.device
        if kind == "auto":
            kind = "cuda" if params.gpus else "cpu"
        if kind == "cuda" and not params.gpus and params.device == "auto" and request.device != "auto":
            raise BenchBenchError("executor 'slurm': --device cuda needs a GPU in each job, as in gres: gpu:1")
        known = remembered_devices(request.store, params.demand)
        unit = "GPU" if kind == "cuda" else "CPU"
        name = params.device_name or (known.name if known else "") or f"{params.gpu_type or unit} of slurm"
        workers, threads = workers_on_cpu(params.cpus or 1, request.jobs)
        shape = PilotShape(workers, threads=known.threads if known else threads)
        if kind == "cuda":
            jobs = request.jobs or 1
            shape = PilotShape(max(1, params.gpus), jobs, jobs, shape.threads)
        return pilot_devices(kind, name, params.jobs, shape)

    @property
    def demand(self) -> tuple[object, ...]:
        return self.params.demand

    @property
    def most(self) -> int:
        return self.params.jobs

    def start(self, count: int) -> None:
        self.order.folder.mkdir(parents=True, exist_ok=True)
        options = [
            "--parsable",
            f"--job-name={self.order.name}",
            f"--output={self.order.folder}/slurm-%j.log",
            "--no-requeue",
            f"--signal=B:TERM@{self.params.save_seconds}",
            *self.params.sbatch_options(),
        ]
        for _ in range(count):
            try:
                answer = _ask("sbatch", *options, text=self.script())
            except EngineError as error:
                raise EngineError(f"{error}{self._hint(str(error))}") from None
            self._jobs.append(answer.strip().partition(";")[0])
        self._asked = -float("inf")

    def script(self) -> str:
        """The script of a job. The work takes the shell's place, so that it gets the signal before the limit."""
        arguments = list(self.order.arguments)
        if self.params.seconds is not None:
            hours = (self.params.seconds - self.params.save_seconds) / 3600
            arguments += ["--max-hours", f"{hours:.6f}"]
        lines = [
            "#!/bin/bash",
            f"export {GRANTED_VARIABLE}=$(date +%s.%N)",
            *self.params.setup,
            f"export {NAME_VARIABLE}=$SLURM_JOB_ID {CORES_VARIABLE}=$SLURM_CPUS_ON_NODE",
            f"export {SUBMITTED_VARIABLE}={time.time():.3f}",
            f"exec {shlex.join([self.params.python or sys.executable, '-m', 'benchbench', 'work', *arguments])}",
        ]
        return "\n".join(lines) + "\n"

    def pilots(self) -> list[Pilot]:
        if time.monotonic() - self._asked >= self.params.poll_seconds:
            self._lines = self._queue()
            self._asked = time.monotonic()
            for job in self._jobs:
                line = self._lines.get(job)
                if job not in self._ended and (line is None or line.has_ended):
                    reason = self._ending(job, line)
                    self._ended[job] = Pilot(job, "ended", reason, blames_stage=may_be_of_stage(reason))
        return [self._ended[job] if job in self._ended else self._open(job) for job in self._jobs]

    def withdraw(self) -> None:
        _ask("scancel", f"--name={self.order.name}", "--state=PENDING", f"--user={os.getuid()}")

    def end(self, names: Sequence[str]) -> None:
        _ask("scancel", "--batch", "--signal=TERM", *names)

    def cancel(self, seconds: float) -> None:
        with contextlib.suppress(EngineError):
            self.withdraw()
            deadline = time.monotonic() + seconds
            jobs = self._open_jobs()
            if jobs:
                self.end(jobs)
            while jobs and time.monotonic() < deadline:
                time.sleep(CANCEL_POLL)
                jobs = self._open_jobs()
            if jobs:
                _ask("scancel", *jobs)

    def leave(self, seconds: float) -> None:
        """Jobs go on, and the next run finds them by their name."""

    def _open_jobs(self) -> list[str]:
        return [job for job, line in self._queue().items() if not line.has_ended]

    def _open(self, job: str) -> Pilot:
        """A job that has not ended; one that was submitted since the last look waits."""
        line = self._lines.get(job)
        pilot = line.pilot() if line else Pilot(job, "queued")
        if not pilot.hopeless:
            return pilot
        asked = " ".join(self.params.sbatch_options()) or "the cluster's defaults"
        return replace(pilot, reason=f"{pilot.reason}, with {asked}")

    def _queue(self) -> dict[str, QueueLine]:
        options = [f"--name={self.order.name}", f"--user={os.getuid()}", "--states=all", f"--format={SQUEUE_FORMAT}"]
        return queue_lines(_ask("squeue", "--noheader", *options))

    def _ending(self, job: str, line: QueueLine | None) -> str:
        """The reason of a job's end. The cluster forgets it after a few minutes."""
        log = str(self.order.folder / f"slurm-{job}.log")
        with contextlib.suppress(EngineError):
            return ending(job_fields(_ask("scontrol", "show", "job", "--oneliner", job)), log)
        if line is not None:
            return ending({"JobState": line.state, "Reason": line.reason, "NodeList": line.nodes}, log)
        with contextlib.suppress(EngineError):
            answer = _ask("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode,NodeList,Timelimit")
            if (fields := answer.strip().split("|"))[3:]:
                state, code, nodes, limit = fields[:4]
                known = {"JobState": state.split()[0], "ExitCode": code, "NodeList": nodes, "TimeLimit": limit}
                return ending(known, log)
        return f"ended; Slurm has forgotten why (see {log})"

    def _hint(self, error: str) -> str:
        """Advice where the cluster has no such partition."""
        if self.params.partition is None or "partition" not in error:
            return ""
        with contextlib.suppress(EngineError):
            names = sorted({name.strip(" *") for name in _ask("sinfo", "-h", "-o", "%P").splitlines()})
            return f"; {did_you_mean(self.params.partition, names)}"
        return ""


def _ask(program: str, *arguments: str, text: str | None = None) -> str:
    """The output of one of Slurm's programs.

    Raises:
        EngineError: it is not there, fails, or does not answer; with what it says.
    """
    command: Sequence[str] = [program, *arguments]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"executor 'slurm': {program} does not work ({one_line(error)})") from None
    if done.returncode:
        said = [re.sub(rf"^{program}: (error: |fatal: )?", "", line) for line in done.stderr.splitlines() if line]
        raise EngineError(f"executor 'slurm': {program}: {'; '.join(said[-2:]) or f'exit code {done.returncode}'}")
    return done.stdout
