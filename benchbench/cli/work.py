"""`benchbench work`: takes stages of a suite from a store that other processes, here or elsewhere, work on too."""

from __future__ import annotations

import json
import sys

import click

from benchbench import api
from benchbench.cli.durations import HOURS
from benchbench.cli.options import SuiteOptions, chooses_cells, limits_stages, reads_suite
from benchbench.running.interrupts import RememberedInterrupts


@click.command()
@chooses_cells
@reads_suite
@click.option(
    "--max-hours",
    type=HOURS,
    help="Then it saves checkpoints, gives its stages back and ends with exit code 0.  [default: no limit]",
)
@click.option(
    "--executor", type=click.Choice(("local", "inline")), default="local", show_default=True, help="Where stages run."
)
@limits_stages
@RememberedInterrupts()
def work(
    options: SuiteOptions,
    max_hours: float | None,
    executor: str,
    checkpoint_seconds: float,
    stage_timeout: float | None,
    cohort: int,
) -> None:
    """Work on SUITE beside other processes on the same store, until nothing is left to do.

    Start it as often as you like, on any machine that has the store's folder: each takes stages that nobody has, and
    goes on with those of a machine that has died. `benchbench run` and `benchbench watch` on the same store show all of
    them; `benchbench report` writes tables at the end. Exit code 0: nothing is left, or the time is up; 1: some cells
    failed; 2: bad input; 130: Ctrl-C; 143: SIGTERM, and 128 + N for another signal N. Ctrl-C and these signals leave
    checkpoints, and give the stages back.

    \b
    Examples:
      benchbench work cifar --store /shared/runs
      benchbench work cifar --store /shared/runs --max-hours 11.5
    """
    from benchbench.running.runner import RunOptions

    experiment = options.plan(executor)
    seconds = None if max_hours is None else 3600 * max_hours
    limits = RunOptions(experiment.data_root, checkpoint_seconds, cohort, stage_timeout, max_seconds=seconds)
    outcome = api.work(experiment, limits, progress=True)
    if options.as_json:
        stages = {"ran": outcome.ran, "done before": outcome.reused, "elsewhere": outcome.elsewhere}
        click.echo(json.dumps({**stages, "failed": outcome.failed, "stopped": outcome.stopped}, indent=1))
    else:
        click.echo(_summary(len(outcome.ran), len(outcome.elsewhere), len(outcome.failed), outcome.stopped), err=True)
    sys.exit(1 if outcome.failed else 0)


def _summary(ran: int, elsewhere: int, failed: int, stopped: bool) -> str:
    counts = [(ran, "stages done here"), (elsewhere, "elsewhere"), (failed, "failed")]
    text = ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing was left to do"
    return f"{text}; the time is up, and the same command goes on" if stopped else text
