"""Parameters of the executor `slurm`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from benchbench.components import Params

# Minutes; minutes:seconds; hours:minutes:seconds; days-hours, and so on.
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
# An account may be a number.
_Text = Annotated[str, Field(coerce_numbers_to_str=True)]
_GPUS = re.compile(r"(?:^|,)(?:gres[:/])?gpu(?::([A-Za-z_][\w.-]*))?(?:[:=](\d+))?(?=,|$)")


def time_seconds(text: str) -> int | None:
    """Seconds of a time as sbatch takes it; None where it is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    days, *given = match.groups()
    numbers = [int(each) for each in given if each is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


class SlurmParams(Params):
    """Demand of each job; what is left out is the cluster's default."""

    instead_of: ClassVar[Mapping[str, str]] = {"gpus": "write gres: gpu:1"}

    partition: _Text | None = Field(None, description="partition, or several with commas between them")
    account: _Text | None = Field(None, description="account that is charged")
    qos: _Text | None = Field(None, description="quality of service")
    time: _Text | None = Field(
        None, description="time limit of a job, as in 4:00:00 or 1-12:00:00; stages are packed into it"
    )
    gres: str | None = Field(None, description="generic resources of a job, as in gpu:1 or gpu:a100:2")
    constraint: _Text | None = Field(None, description="features of nodes")
    cpus: int | None = Field(None, ge=1, description="CPU cores of a job")
    mem: _Text | None = Field(None, description="memory of a job, as in 32G")
    jobs: int = Field(4, ge=1, le=10_000, description="most jobs at once")
    setup: tuple[str, ...] = Field((), description="lines of shell before the work, as in [module load cuda]")
    options: tuple[str, ...] = Field((), description="further options of sbatch, as in [--exclude=n3]")
    python: str | None = Field(None, description="Python of the jobs; default: the one that starts the run")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where `gres` names a GPU")
    device_name: str | None = Field(
        None, description="model of the device; default: what the last job had, which the first plan cannot know"
    )
    save_seconds: int = Field(120, ge=1, description="time before the limit at which a job is told to save and end")
    poll_seconds: float = Field(10.0, gt=0, description="how often the cluster is asked")

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, time: str | None) -> str | None:
        if time is not None and not time_seconds(time):
            raise ValueError("write a time as sbatch takes it: 4:00:00, 1-12:00:00, or minutes")
        return time

    @model_validator(mode="after")
    def _leaves_time_to_work(self) -> Self:
        if (seconds := self.seconds) is not None and seconds <= self.save_seconds:
            raise ValueError(
                f"time {self.time} leaves none to work before the last {self.save_seconds} s (save_seconds)"
            )
        return self

    @property
    def seconds(self) -> int | None:
        """The time limit; None where it is the cluster's."""
        return None if self.time is None else time_seconds(self.time)

    @property
    def gpus(self) -> int:
        """GPUs of a job, as `gres` names them."""
        return sum(int(count or 1) for _, count in _GPUS.findall(self.gres or ""))

    @property
    def gpu_type(self) -> str:
        """Type of the GPUs, as the cluster calls it; empty where `gres` names none."""
        return next((name for name, _ in _GPUS.findall(self.gres or "") if name), "")

    @property
    def demand(self) -> tuple[object, ...]:
        """The part of the demand that decides which devices a job gets."""
        return ("slurm", self.partition, self.gres, self.constraint, self.cpus, self.options)

    def sbatch_options(self) -> list[str]:
        """Options of sbatch."""
        named = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.time,
            "gres": self.gres,
            "constraint": self.constraint,
            "cpus-per-task": self.cpus,
            "mem": self.mem,
        }
        return [*(f"--{name}={value}" for name, value in named.items() if value is not None), *self.options]
