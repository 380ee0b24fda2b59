"""Options that several commands share, and the suite that they name."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from benchbench import api
from benchbench.cli.durations import DURATION
from benchbench.experiment import DEFAULT_FORMATS, DEFAULT_STORE, DEFAULT_TEMPLATE, FORMATS, PAGE, THEMES, Experiment

Command = Callable[..., Any]
MOST_WRONG = 24  # of `benchbench.reports.sheet_request`, whose import would take time here


class UserPath(click.Path):
    """A path in which a leading `~` counts, which shells leave in `--store=~/runs`."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


class SuiteFile(UserPath):
    """The path of a suite, or the name of one that ships; shells complete both."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from benchbench.suite.shipped import shipped_suites

        # Beside the names, a shell's own completion of files would not be asked.
        beside = [path.as_posix() for path in Path().glob("*.yaml")]
        names = [name for name in [*sorted(shipped_suites()), *sorted(beside)] if name.startswith(incomplete)]
        return [*(CompletionItem(name) for name in names), *super().shell_complete(ctx, param, incomplete)]


suite_type = SuiteFile()
folder_type = UserPath(file_okay=False, path_type=Path)
file_type = UserPath(dir_okay=False, path_type=Path)
data_option = click.option(
    "--data",
    type=folder_type,
    default=Path("data"),
    show_default=True,
    envvar="BENCHBENCH_DATA",
    help="Where data sets are downloaded to (or BENCHBENCH_DATA).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
plugin_option = click.option(
    "--plugin", "plugins", type=file_type, multiple=True, help="A plugin file to load; may be repeated."
)
store_option = click.option(
    "--store", type=folder_type, default=Path(DEFAULT_STORE), show_default=True, help="Where results are kept."
)


@dataclass(frozen=True)
class SuiteOptions:
    """Options of every command that reads a suite."""

    suite: Path
    store: Path
    data: Path
    overrides: tuple[str, ...]
    plugins: tuple[Path, ...]
    device: str
    jobs: int | None
    as_json: bool
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def plan(self, executor: str | None = None, settings: Sequence[str] = ()) -> Experiment:
        return api.plan(
            self.suite,
            store=self.store,
            data=self.data,
            overrides=self.overrides,
            plugins=self.plugins,
            device=self.device,
            jobs=self.jobs,
            executor=executor,
            executor_settings=settings,
            only=self.only,
            skip=self.skip,
        )


@dataclass(frozen=True)
class StoreOptions:
    """Options of every command about a store."""

    store: Path
    as_json: bool


def names_of(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


@dataclass(frozen=True)
class ReportOptions:
    """Options of every command that writes a report."""

    folder: Path | None
    formats: tuple[str, ...]
    template: str
    tables: tuple[str, ...]
    theme: str
    wrong_images: int


_REPORT = "Where tables and figures go; of several suites, to a folder each in it.  [default: reports/NAME-OF-SUITE]"
_TEMPLATE = "Which tables and figures, in what order; see `benchbench list templates`."
_TABLES = "Which tables are printed: `all`, or names with commas between them.  [default: accuracy and hours, in brief]"
_WRONG = (
    "In report.html, so many wrong test images of the best and the worst run of each arm; they come from the data set."
)
_JOBS = "Workers side by side: on the CPU, or on each GPU.  [default: one per core, at most 8; one per GPU]"
_SET = (
    "Override a part of the suite, e.g. recipes.default.epochs=5; may be repeated. A backslash stands before a . or = "
    r"of a label: arms.T\=4\.5.recipe.epochs=5."
)
set_option = click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help=_SET)
_REPORT_OPTIONS = (
    click.option("--report", "folder", type=folder_type, help=_REPORT),
    click.option(
        "--format",
        "formats",
        type=click.Choice(FORMATS),
        multiple=True,
        default=DEFAULT_FORMATS,
        show_default=True,
        help="Of tables and figures; may be repeated.",
    ),
    click.option("--template", default=DEFAULT_TEMPLATE, show_default=True, help=_TEMPLATE),
    click.option("--tables", metavar="NAMES", callback=names_of, help=_TABLES),
    click.option("--theme", type=click.Choice(THEMES), default=THEMES[0], show_default=True, help="Of figures."),
    click.option(
        "--wrong-images", type=click.IntRange(0, MOST_WRONG), metavar="N", default=0, show_default=True, help=_WRONG
    ),
)
_EXECUTOR_OPTIONS = (
    click.option(
        "--executor",
        metavar="NAME",
        help="Where stages run; see `benchbench list executors`.  [default: the suite's own, else local]",
    ),
    click.option(
        "--executor-set",
        "executor_settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="A parameter of the executor, e.g. partition=gpu; may be repeated.",
    ),
)
_CHOICE: dict[str, Any] = {"metavar": "AXIS=LABEL", "multiple": True}
_CHOICE_OPTIONS = (
    click.option("--only", **_CHOICE, help="Cells to run: arm=KD,seed=0, say, which all have to fit; may be repeated."),
    click.option("--skip", **_CHOICE, help="Cells to leave out, likewise."),
)
_SUITE_OPTIONS = (
    store_option,
    data_option,
    set_option,
    plugin_option,
    click.option(
        "--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps, or auto: CUDA if there is any."
    ),
    click.option("--jobs", type=click.IntRange(1), help=_JOBS),
    json_option,
)


_STAGE_OPTIONS = (
    click.option(
        "--checkpoint-seconds",
        type=DURATION,
        default=30.0,
        show_default=True,
        help="How much of a stage's work a kill may cost: seconds, or 2min.",
    ),
    click.option(
        "--stage-timeout",
        type=DURATION,
        help="Ends a stage that takes longer, and goes on with the others: seconds, 15min or 2h.  [default: no limit]",
    ),
    click.option(
        "--cohort",
        type=click.IntRange(1),
        default=8,
        show_default=True,
        help="Most cells that train side by side behind one teacher; 1: each alone.",
    ),
)


def limits_stages(command: Command) -> Command:
    """Gives a command that runs stages their limits: `checkpoint_seconds`, `stage_timeout` and `cohort`."""
    return _with_options(_STAGE_OPTIONS, command)


def chooses_executor(command: Command) -> Command:
    """Gives a command the options of an executor: `executor` and `executor_settings`."""
    return _with_options(_EXECUTOR_OPTIONS, command)


def chooses_cells(command: Command) -> Command:
    """Gives a command that reads a suite the options of a choice among its cells."""
    return _with_options(_CHOICE_OPTIONS, command)


def reads_suite(command: Command) -> Command:
    """Gives a command the shared options, as one `SuiteOptions`."""

    @functools.wraps(command)
    def gathered(**values: Any) -> None:
        shared = _shared(values)
        command(SuiteOptions(**shared), **values)

    return click.argument("suite", type=suite_type)(_with_options(_SUITE_OPTIONS, gathered))


def reads_suites(command: Command) -> Command:
    """The same for a command that takes several suites: a list with one `SuiteOptions` per suite."""

    @functools.wraps(command)
    def gathered(suites: tuple[Path, ...], **values: Any) -> None:
        shared = _shared(values)
        command([SuiteOptions(suite=suite, **shared) for suite in suites], **values)

    argument = click.argument("suites", metavar="SUITE...", type=suite_type, nargs=-1, required=True)
    return argument(_with_options(_SUITE_OPTIONS, gathered))


def reads_store(command: Command) -> Command:
    """Gives a command about a store its options, and those of the suites that it is about, which may be none."""

    @functools.wraps(command)
    def gathered(suites: tuple[Path, ...], **values: Any) -> None:
        shared = _shared(values)
        options = StoreOptions(shared["store"], shared["as_json"])
        command(options, [SuiteOptions(suite=suite, **shared) for suite in suites], **values)

    return click.argument("suites", metavar="[SUITE]...", type=suite_type, nargs=-1)(
        _with_options(_SUITE_OPTIONS, gathered)
    )


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """Takes the values of `SuiteOptions` out of those of a command."""
    return {field.name: values.pop(field.name) for field in fields(SuiteOptions) if field.name in values}


def writes_report(command: Command) -> Command:
    """Gives a command the options of a report, as `output: ReportOptions`."""

    @functools.wraps(command)
    def gathered(*arguments: Any, **values: Any) -> None:
        output = ReportOptions(**{field.name: values.pop(field.name) for field in fields(ReportOptions)})
        if output.wrong_images and PAGE not in output.formats:
            raise click.UsageError(f"--wrong-images is of the page; add --format {PAGE}")
        command(*arguments, output=output, **values)

    return _with_options(_REPORT_OPTIONS, gathered)


def _with_options(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)
