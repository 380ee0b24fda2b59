"""The command line: it parses and prints; `benchbench.api` does the work. Commands import what they need."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchbench import __version__, api
from benchbench.cli.data import data
from benchbench.cli.docs import docs, page_of
from benchbench.cli.doctor import doctor
from benchbench.cli.first_suite import start
from benchbench.cli.frame import results
from benchbench.cli.grouped import GroupedCommands
from benchbench.cli.options import (
    ReportOptions,
    SuiteOptions,
    chooses_cells,
    chooses_executor,
    limits_stages,
    reads_suite,
    reads_suites,
    writes_report,
)
from benchbench.cli.plugins import check, list_, new, plugins
from benchbench.cli.printing import json_of, print_places, print_report, print_written
from benchbench.cli.results import compare, export, merge, sync
from benchbench.cli.store import store_group
from benchbench.cli.streams import drop_unwritten, prepare_streams
from benchbench.cli.work import work
from benchbench.errors import BenchBenchError, one_line, short_quotes, short_words
from benchbench.experiment import PAGE, Experiment, Run
from benchbench.hardware.platform import require_platform
from benchbench.running.interrupts import RememberedInterrupts, Terminated

DONE, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: every error of ours is one line on stderr and exit code 2."""
    prepare_streams()
    try:
        code = cli.main(args=arguments, prog_name="benchbench", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = DONE
    except click.ClickException as error:
        _complain(f"error: {_click_message(error)}")
        code = BAD_INPUT
    except BenchBenchError as error:
        _complain(f"error: {short_words(one_line(error))}{page_of(error)}")
        code = BAD_INPUT
    except OSError as error:  # a full disk or a closed pipe, say
        _complain(f"error: {short_words(one_line(error))}")
        drop_unwritten()
        code = BAD_INPUT
    except (KeyboardInterrupt, click.Abort) as error:
        signaled = error if isinstance(error, Terminated) else error.__cause__  # click raises Abort from it
        ending, code = "interrupted", INTERRUPTED
        if isinstance(signaled, Terminated):
            ending, code = f"ended by {signaled}", 128 + signaled.number
        _complain(f"{ending}; run the same command again to go on from the last checkpoints")
    sys.exit(code if isinstance(code, int) else DONE)


def _complain(line: str) -> None:
    try:
        click.echo(line, err=True)
    except OSError:  # a terminal that is gone, or a full disk
        drop_unwritten()


def _click_message(error: click.ClickException) -> str:
    message = short_words(short_quotes(one_line(error.format_message())))
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "benchbench"
    return message if "--help" in message else f"{message} (see `{command} --help`)"


@click.group(cls=GroupedCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="benchbench", message="%(prog)s %(version)s")
def cli() -> None:
    """Pre-train a small vision model, or distil it from a large teacher? Accuracy and GPU-hours from one suite file.

    `benchbench COMMAND --help` has examples of a command, `benchbench docs WORD` the documentation on any subject.

    \b
    Examples:
      benchbench run quickstart
      benchbench new suite leaves
      benchbench run cifar --set 'seeds=[0]' --set recipes.default.epochs=5
    """
    require_platform()


@cli.command()
@chooses_cells
@reads_suite
@chooses_executor
@click.option("--all", "show_all", is_flag=True, help="List every stage with its key.")
@click.option("--times", is_flag=True, help="Say how long the rest would take on 1 to 1,024 slots.")
@click.option("--calibrate", is_flag=True, help="First measure how fast the networks are here, to predict hours.")
@click.option(
    "--check-images", is_flag=True, help="Read every image of your own now, as `run` does; few are always read."
)
def plan(
    options: SuiteOptions,
    executor: str | None,
    executor_settings: tuple[str, ...],
    show_all: bool,
    times: bool,
    calibrate: bool,
    check_images: bool,
) -> None:
    """Show what SUITE would run, what is already done, and what each arm will cost.

    Device-hours are predicted from finished stages of the same work in the store, whatever their seeds, epochs or
    number of images; else from the speed of the networks on this device, of an earlier run or measured now by
    `--calibrate`.

    \b
    Examples:
      benchbench plan cifar
      benchbench plan cifar --calibrate --times
      benchbench plan cifar --all --set seeds=[0,1,2,3,4]
      benchbench plan cifar --executor slurm --executor-set partition=gpu
    """
    from benchbench.cli.describe import plan_json, plan_text, times_text

    experiment = options.plan(executor, executor_settings).chosen()
    estimates = api.estimate(experiment)
    unchecked = api.check_images(experiment, only_cheap=not check_images)
    if calibrate:
        experiment.calibrate(progress=True)
    if options.as_json:
        click.echo(json.dumps(plan_json(experiment.plan, experiment.store, estimates), indent=1))
    else:
        click.echo(plan_text(experiment.plan, experiment.store, estimates, show_all))
        if time_left := times_text(experiment, times):
            click.echo(time_left)
        if unchecked:
            click.echo(
                f"note: not read yet: {', '.join(unchecked)}; `run` reads every image once, `--check-images` now"
            )


@cli.command()
@chooses_cells
@reads_suite
@writes_report
@chooses_executor
@limits_stages
@RememberedInterrupts()
def run(
    options: SuiteOptions,
    output: ReportOptions,
    executor: str | None,
    executor_settings: tuple[str, ...],
    checkpoint_seconds: float,
    stage_timeout: float | None,
    cohort: int,
) -> None:
    """Run all of SUITE that is not done yet, then print its answer and write its tables.

    Stages that are done are never run again; those that failed are, and an interrupted run goes on from its last
    checkpoints. At the end stand a sentence on what is better and what it costs, accuracies, and hours; `--tables all`
    prints every table. Exit code 0: all done; 1: some cells failed; 2: bad input; 130: Ctrl-C; 143: SIGTERM, and
    128 + N for another signal N. Ctrl-C and these signals leave checkpoints.

    \b
    Examples:
      benchbench run quickstart
      benchbench run cifar --only arm=KD,seed=0 --skip data=cifar100
      benchbench run cifar --device cuda:0 --store /big/runs --report paper/results --format html
      benchbench run my_suite.yaml --plugin my_loss.py
      benchbench run cifar --stage-timeout 2h
      benchbench run cifar --executor slurm --executor-set partition=gpu --executor-set time=4:00:00
    """
    experiment = options.plan(executor, executor_settings)
    api.require_template(experiment, output.template, output.tables)
    _require_free(experiment, output)
    finished = api.run(
        experiment,
        progress=True,
        checkpoint_seconds=checkpoint_seconds,
        stage_timeout=stage_timeout,
        cohort=cohort,
        template=output.template,
    )
    _show(finished, options, output, output.folder)
    print_places(experiment)
    if options.as_json:
        click.echo(json_of({experiment.name: finished.report}))
    sys.exit(SOME_FAILED if finished.failed else DONE)


@cli.command()
@reads_suites
@writes_report
def report(suites: list[SuiteOptions], output: ReportOptions) -> None:
    """Print each SUITE's answer from what is in the store, and write its tables and figures.

    A sentence on what is better and what it costs, accuracies and hours are printed; `--tables all` prints every table.
    Tables are Markdown, LaTeX, CSV and text; figures are PDF and PNG, in the sizes of print. LaTeX comes with
    tables.tex, figures.tex and macros.tex (the headline numbers as commands), which say what a document needs.
    `--format html` writes all tables into one page with charts and every cell, report.html, which needs no network.

    \b
    Examples:
      benchbench report quickstart
      benchbench report quickstart --tables verdicts,ledger
      benchbench report cifar --format tex --format pdf --template paper --report paper/results
      benchbench report cifar losses --format html
    """
    experiments = [(options.plan(), options) for options in suites]  # before anything is printed
    _require_distinct_names(experiments)
    for experiment, _ in experiments:
        api.require_template(experiment, output.template, output.tables)
        api.check(experiment)
    reports = {}
    for experiment, options in experiments:
        folder = output.folder / experiment.name if output.folder and len(experiments) > 1 else output.folder
        finished = api.report(experiment, template=output.template)
        _show(finished, options, output, folder)
        reports[experiment.name] = finished.report
    if suites[0].as_json:
        click.echo(json_of(reports))


def _show(finished: Run, options: SuiteOptions, output: ReportOptions, folder: Path | None) -> None:
    """Prints a suite's report unless JSON is asked for, and writes it."""
    folder = _folder_of(finished.experiment, folder)
    finished = finished.with_theme(output.theme)
    if not options.as_json:
        print_report(finished.report, finished.experiment.command("run"), output.tables)
    paths = finished.write(folder, output.formats, output.wrong_images)
    for page in (path for path in paths if path.suffix == f".{PAGE}"):
        click.echo(f"written: {page}", err=True)
    print_written(finished.report, folder, [path for path in paths if path.suffix != f".{PAGE}"])


def _folder_of(experiment: Experiment, folder: Path | None) -> Path:
    return folder or Path("reports") / experiment.name


def _require_free(experiment: Experiment, output: ReportOptions) -> None:
    from benchbench.reports.folder import require_free

    require_free(_folder_of(experiment, output.folder), output.formats, experiment.plan.registry)


def _require_distinct_names(experiments: Sequence[tuple[Experiment, SuiteOptions]]) -> None:
    """Refuses suites of one name, whose reports would go to one folder."""
    paths: dict[str, Path] = {}
    for experiment, options in experiments:
        if experiment.name in paths:
            raise BenchBenchError(
                f"{paths[experiment.name]} and {options.suite} are both called '{experiment.name}', and one report "
                "would replace the other; report them one by one, each with a --report DIR of its own"
            )
        paths[experiment.name] = options.suite


@cli.command()
@reads_suite
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Where to listen; 0: any free one."
)
def watch(options: SuiteOptions, port: int) -> None:
    """Show SUITE's report as a page in a browser, and keep it new while the suite runs.

    Only this machine can open it, and it only reads the store: start it before, during or after a run, and end it with
    Ctrl-C. `ssh -L 8765:127.0.0.1:8765 HOST` brings it here from another machine.

    \b
    Examples:
      benchbench watch quickstart
      benchbench watch cifar --store /big/runs --port 0
    """
    from benchbench.cli.watch import serve

    experiment = options.plan()
    api.check(experiment)
    serve(experiment, port, options.as_json)


_COMMANDS = (data, work, list_, docs, doctor, plugins, new, check, export, merge, sync, compare, results, store_group)
for _command in (start, *_COMMANDS):
    cli.add_command(_command)
