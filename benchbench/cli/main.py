"""The command line: parses and prints, decides nothing. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbench import __version__
from benchbench.cli.plugins import (
    check,
    data_option,
    file_type,
    folder_type,
    json_option,
    list_,
    new,
    plugin_option,
    plugins,
)
from benchbench.cli.results import compare, export, merge
from benchbench.errors import BenchBenchError, one_line

if TYPE_CHECKING:
    import pandas as pd

    from benchbench.plan.model import Plan
    from benchbench.plugins import PluginHost
    from benchbench.run.schedule import Outcome
    from benchbench.store import Store

DONE, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
FORMATS = ("md", "tex", "csv", "txt", "pdf", "png", "html")  # of tables, of figures, and of all together
WRITTEN = ("md", "tex", "csv", "pdf", "png")  # unless others are asked for
TEMPLATE = "full"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: every error of ours is one line on stderr and exit code 2."""
    try:
        code = cli.main(args=arguments, prog_name="benchbench", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = DONE
    except click.ClickException as error:
        click.echo(f"error: {_click_message(error)}", err=True)
        code = BAD_INPUT
    except BenchBenchError as error:
        click.echo(f"error: {one_line(error)}", err=True)
        code = BAD_INPUT
    except OSError as error:  # a full disk or a closed pipe, say
        with contextlib.suppress(OSError):
            click.echo(f"error: {one_line(error)}", err=True)
        code = BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to go on from the last checkpoints", err=True)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else DONE)


def _click_message(error: click.ClickException) -> str:
    message = one_line(error.format_message())
    return message if "--help" in message else f"{message} (see `benchbench --help`)"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="benchbench", message="%(prog)s %(version)s")
def cli() -> None:
    """Pre-train a small vision model, or distil it from a large teacher? Accuracy and GPU-hours from one suite file.

    \b
    Examples:
      benchbench plan suites/quickstart.yaml
      benchbench run suites/quickstart.yaml
      benchbench run suites/cifar.yaml --set seeds=[0] --set recipes.default.epochs=5
      benchbench report suites/quickstart.yaml
      benchbench list losses
      benchbench new loss my_loss
      benchbench check benchbench-my-loss
    """


@dataclass(frozen=True)
class SuiteOptions:
    """What every command that reads a suite is told."""

    suite: Path
    store: Path
    data: Path
    overrides: tuple[str, ...]
    plugins: tuple[Path, ...]
    device: str
    jobs: int | None
    as_json: bool

    def command(self, template: str = TEMPLATE) -> str:
        """The command that makes the report of this suite, overrides and plugins included."""
        options = [word for override in self.overrides for word in ("--set", override)]
        options += [word for plugin in self.plugins for word in ("--plugin", str(plugin))]
        options += ["--store", str(self.store)] if self.store != Path("runs") else []
        options += ["--template", template] if template != TEMPLATE else []
        return shlex.join(["benchbench", "report", str(self.suite), *options])

    def plan(self) -> tuple[Plan, PluginHost, Store]:
        """The suite's plan, its plugins and its store."""
        from benchbench.hardware.devices import find_devices
        from benchbench.plan.expand import make_plan
        from benchbench.plugins import load_plugins
        from benchbench.store import Store
        from benchbench.suite.file import load_suite

        store = Store(self.store)
        store.check_format()
        file = load_suite(self.suite, self.overrides)
        host = load_plugins([*file.plugin_files(), *self.plugins])
        return make_plan(file, host.registry, find_devices(self.device, self.jobs), self.data), host, store


_REPORT = "Where tables and figures go; of several suites, to a folder each in it.  [default: reports/NAME-OF-SUITE]"
_TEMPLATE = "Which tables and figures, in what order; see `benchbench list templates`."
_REPORT_OPTIONS = (
    click.option("--report", "folder", type=folder_type, help=_REPORT),
    click.option(
        "--format",
        "formats",
        type=click.Choice(FORMATS),
        multiple=True,
        default=WRITTEN,
        show_default=True,
        help="Of tables and figures; may be repeated.",
    ),
    click.option("--template", default=TEMPLATE, show_default=True, help=_TEMPLATE),
)
_JOBS = "Workers side by side: on the CPU, or on each GPU.  [default: one a core, at most 8; one a GPU]"
_SET = "Override a part of the suite, e.g. recipes.default.epochs=5; may be repeated."
_SUITE_OPTIONS = (
    click.option("--store", type=folder_type, default=Path("runs"), show_default=True, help="Where results are kept."),
    data_option,
    click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help=_SET),
    plugin_option,
    click.option(
        "--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, or auto: CUDA if there is any."
    ),
    click.option("--jobs", type=click.IntRange(1), help=_JOBS),
    json_option,
)


def _reads_suite(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the shared options, as one `SuiteOptions`."""

    @functools.wraps(command)
    def gathered(**values: Any) -> None:
        shared = {field.name: values.pop(field.name) for field in fields(SuiteOptions)}
        command(SuiteOptions(**shared), **values)

    return click.argument("suite", type=file_type)(_takes(*_SUITE_OPTIONS)(gathered))


def _reads_suites(command: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that takes several suites: a list with a `SuiteOptions` for each."""

    @functools.wraps(command)
    def gathered(suites: tuple[Path, ...], **values: Any) -> None:
        shared = {field.name: values.pop(field.name) for field in fields(SuiteOptions) if field.name != "suite"}
        command([SuiteOptions(suite=suite, **shared) for suite in suites], **values)

    argument = click.argument("suites", metavar="SUITE...", type=file_type, nargs=-1, required=True)
    return argument(_takes(*_SUITE_OPTIONS)(gathered))


def _takes(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command several options."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


@cli.command()
@_reads_suite
@click.option("--all", "show_all", is_flag=True, help="List every stage with its key.")
@click.option("--calibrate", is_flag=True, help="First measure how fast the networks are here, to predict hours.")
def plan(options: SuiteOptions, show_all: bool, calibrate: bool) -> None:
    """Show what SUITE would run, what is already done, and what each arm will cost.

    Device-hours are predicted from finished stages of the same work in the store, whatever their seeds, epochs or
    number of images; else from the speed of the networks on this device, of an earlier run or measured now by
    `--calibrate`.

    \b
    Examples:
      benchbench plan suites/cifar.yaml
      benchbench plan suites/cifar.yaml --calibrate
      benchbench plan suites/cifar.yaml --all --set seeds=[0,1,2,3,4]
    """
    from benchbench.cli.describe import plan_json, plan_text
    from benchbench.costs.estimate import MEASURING, estimate

    made, host, store = options.plan()
    costs = estimate(made)
    if calibrate:
        _run_stages(options, made.part(MEASURING), host, store)
    if options.as_json:
        click.echo(json.dumps(plan_json(made, store, costs), indent=1))
    else:
        click.echo(plan_text(made, store, costs, show_all))


@cli.command()
@_reads_suite
@_takes(*_REPORT_OPTIONS)
@click.option(
    "--executor", default="local", show_default=True, help="Where stages run; see `benchbench list executors`."
)
@click.option(
    "--checkpoint-seconds",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="How much of a stage's work a kill may cost.",
)
@click.option(
    "--cohort",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Most cells that train side by side behind one teacher; 1: each alone.",
)
def run(
    options: SuiteOptions,
    folder: Path | None,
    formats: tuple[str, ...],
    template: str,
    executor: str,
    checkpoint_seconds: float,
    cohort: int,
) -> None:
    """Run whatever of SUITE is not done yet, then print and write its tables.

    Stages that are done are never run again; an interrupted run goes on from its last checkpoints. Exit code 0: all
    done; 1: some cells failed; 2: bad input.

    \b
    Examples:
      benchbench run suites/quickstart.yaml
      benchbench run suites/cifar.yaml --device cuda:0 --store /big/runs --report tables --format html
      benchbench run my_suite.yaml --plugin my_loss.py
    """
    from benchbench.costs.estimate import estimate
    from benchbench.reports.templates import template_names

    made, host, store = options.plan()
    template_names(made.registry, template)  # one that does not exist must not come out after hours
    weights = {key: cost.flops for key, cost in estimate(made).items()}
    outcome = _run_stages(options, made, host, store, executor, weights, checkpoint_seconds, cohort)
    results = _report(options, made, store, folder or Path("reports") / made.suite.name, formats, template)
    if options.as_json:
        click.echo(_json({made.suite.name: results}))
    sys.exit(SOME_FAILED if outcome.failed else DONE)


def _run_stages(
    options: SuiteOptions,
    made: Plan,
    host: PluginHost,
    store: Store,
    executor: str = "local",
    weights: dict[str, float] | None = None,
    checkpoint_seconds: float = 30.0,
    cohort: int = 1,
) -> Outcome:
    """Runs a plan's stages under the live view, which weighs them by FLOPs."""
    from benchbench.cli.progress import ProgressView
    from benchbench.run.runner import RunOptions, run_plan

    component = host.registry.get("executor", executor)
    store.open()
    progress = ProgressView(weights or {})
    host.manager.register(progress, name="progress")
    try:
        return run_plan(made, host, store, component, RunOptions(options.data, checkpoint_seconds, cohort))
    finally:
        progress.close()


@cli.command()
@_reads_suites
@_takes(*_REPORT_OPTIONS)
def report(suites: list[SuiteOptions], folder: Path | None, formats: tuple[str, ...], template: str) -> None:
    """Print each SUITE's tables from what is in the store, and write them with its figures.

    Tables are Markdown, LaTeX, CSV and text; figures are PDF and PNG, in the sizes of print. LaTeX comes with
    tables.tex, figures.tex and macros.tex (the headline numbers as commands), which say what a document needs.
    `--format html` writes all tables into one page with charts and every cell, report.html, which needs no network.

    \b
    Examples:
      benchbench report suites/quickstart.yaml
      benchbench report suites/cifar.yaml --format tex --format pdf --template paper --report paper/results
      benchbench report suites/cifar.yaml suites/losses.yaml --format html
    """
    planned = [(options, *options.plan()) for options in suites]  # before anything is printed
    _require_names_of_their_own([(made.suite.name, options.suite) for options, made, *_ in planned])
    frames = {}
    for options, made, _, store in planned:
        own = folder / made.suite.name if folder and len(planned) > 1 else folder
        own = own or Path("reports") / made.suite.name
        frames[made.suite.name] = _report(options, made, store, own, formats, template)
    if suites[0].as_json:
        click.echo(_json(frames))


def _report(
    options: SuiteOptions, made: Plan, store: Store, folder: Path, formats: tuple[str, ...], template: str
) -> pd.DataFrame:
    """Writes a suite's report, prints its tables unless JSON is asked for, and gives its results."""
    from benchbench.reports.render import plain
    from benchbench.reports.report import make_figures, make_report
    from benchbench.reports.write import further_files, write_report

    command = options.command(template)
    report = make_report(made, store, command, template)
    results = report.results
    if not options.as_json:
        for table in report.tables:
            click.echo(plain(table, color=sys.stdout.isatty()))
        for reason, cells in results[results.status == "failed"].groupby("reason", sort=False, dropna=False):
            named = [f"{cell.row} | {cell.data} | {cell.student} | seed {cell.seed}" for cell in cells.itertuples()]
            more = f" (and {len(named) - 1} more cells)" if len(named) > 1 else ""
            click.echo(f"failed: {named[0]}{more}: {one_line(str(reason))}")
        missing = int((results.status == "missing").sum())
        if missing:
            click.echo(f"{missing} of {len(results)} cells have not been run; benchbench run {made.file.path}")
    if "html" in formats:  # with the reasons and logs of cells that failed, so also where none is done
        from benchbench.reports.page import write_page

        page = write_page(report, folder)
        click.echo(f"written: {page}", err=True)
        formats = tuple(kind for kind in formats if kind != "html")
    if not (results.status == "done").any():
        click.echo("no cell is done, so no tables are written", err=True)
        return results
    # matplotlib takes a second to import
    figures = make_figures(report) if {"pdf", "png"} & set(formats) else []
    paths = write_report(report, folder, formats, further_files(report, figures, formats))
    click.echo(f"written to {folder}: {', '.join(path.name for path in paths)}", err=True)
    return results


def _require_names_of_their_own(suites: list[tuple[str, Path]]) -> None:
    """Reports of suites of one name would go to one folder."""
    seen: dict[str, Path] = {}
    for name, path in suites:
        if name in seen:
            raise BenchBenchError(
                f"{seen[name]} and {path} are both called '{name}', and one report would replace the other; "
                "report them one by one, each with a --report DIR of its own"
            )
        seen[name] = path


def _json(frames: dict[str, pd.DataFrame]) -> str:
    """Every row of some suites' results, with the suite's name."""
    from benchbench.reports.results import readable

    tables = {name: json.loads(readable(frame).to_json(orient="records")) for name, frame in frames.items()}
    rows = [{"suite": name, **row} for name, table in tables.items() for row in table]
    return json.dumps(rows, indent=1)


@cli.command()
@_reads_suite
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Where to listen; 0: any free one."
)
def watch(options: SuiteOptions, port: int) -> None:
    """Show SUITE's report as a page in a browser, and keep it new while the suite runs.

    Only this machine can open it, and it only reads the store: start it before, during or after a run, and end it with
    Ctrl-C. `ssh -L 8765:127.0.0.1:8765 HOST` brings it here from another machine.

    \b
    Examples:
      benchbench watch suites/quickstart.yaml
      benchbench watch suites/cifar.yaml --store /big/runs --port 0
    """
    from benchbench.cli.watch import serve

    made, _, store = options.plan()
    serve(made, store, options.command(), port, options.as_json)


for _command in (list_, plugins, new, check, export, merge, compare):
    cli.add_command(_command)
