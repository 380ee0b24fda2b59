"""A planned suite, and a run of it: what `benchbench.plan`, `benchbench.run` and `benchbench.report` give."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.errors import BenchBenchError, UnknownNameError, did_you_mean, one_line
from benchbench.suite.places import given_path

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from benchbench.executors.choice import ExecutorChoice
    from benchbench.executors.pilots import WorkOrder
    from benchbench.planning.model import Plan
    from benchbench.plugins import PluginHost
    from benchbench.reports.lazy import LazyMapping
    from benchbench.reports.plan_overview import PlanOverview
    from benchbench.reports.report import Report
    from benchbench.reports.table import Table
    from benchbench.running.runner import RunOptions
    from benchbench.running.schedule import Outcome
    from benchbench.store import Store
    from benchbench.suite.document import Override
    from benchbench.suite.file import SuiteFile

PAGE = "html"
FIGURE_FORMATS = ("pdf", "png")
FORMATS = ("md", "tex", "csv", "txt", *FIGURE_FORMATS, PAGE)  # of tables, of figures, and of all together
DEFAULT_FORMATS = ("md", "tex", "csv", *FIGURE_FORMATS)
THEMES = ("light", "dark")  # of figures
DEFAULT_TEMPLATE = "full"
DEFAULT_STORE, DEFAULT_DATA, DEFAULT_DEVICE = "runs", "data", "auto"


@dataclass(frozen=True, eq=False, repr=False)
class Experiment:
    """A planned suite, with the plugins that it uses and the folders of its results and data.

    Shown as a table with a row for each arm: what is done, and the predicted hours.

    Attributes:
        plan: its stages and cells.
        host: its plugins.
        store: folder of results.
        data_root: folder of downloads.
        executor: the executor that runs its stages, with its parameters.
        device, jobs, plugins: as they were asked for.
        only, skip: choices of the cells that run, as `--only` and `--skip` take them; reports are of the whole grid.
    """

    plan: Plan
    host: PluginHost
    store: Store
    data_root: Path
    executor: ExecutorChoice
    device: str = "auto"
    jobs: int | None = None
    plugins: tuple[Path, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def chosen(self) -> Experiment:
        """The experiment of the chosen cells alone, with the stages that they need.

        Raises:
            BenchBenchError: a choice that is none, or that leaves no cell.
        """
        from benchbench.planning.selection import chosen_part

        return replace(self, plan=chosen_part(self.plan, self.only, self.skip))

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.plan.suite.name

    @property
    def unit(self) -> str:
        """Unit of hours: GPU-hours or CPU-hours."""
        return self.plan.devices.unit

    @property
    def cells(self) -> pd.DataFrame:
        """One row per cell: its place in the grid, its state in the store, and predicted device-hours.

        `own_hours` are those of the cell itself, `hours` those with its share of the stages that it needs; NaN where
        nothing tells how long they take.
        """
        from benchbench.reports.plan_cells import cells_frame

        return cells_frame(self.overview())

    @property
    def hours(self) -> float | None:
        """Predicted device-hours of all that is not done, in `unit`; None where nothing tells how long it takes."""
        return self.overview().rest_hours

    def overview(self) -> PlanOverview:
        """Overview of what is done and what the rest will cost, from the store as it is now."""
        from benchbench.reports.plan_overview import overview

        return overview(self.plan, self.store)

    def execute(self, options: RunOptions, listeners: Sequence[object] = ()) -> Outcome:
        """Runs all stages that are not done yet; `benchbench.run` calls this.

        Args:
            options: of the run.
            listeners: objects with lifecycle hooks, for this run alone.

        Raises:
            StoreError: the store is in use, of another format, or cannot be written.
        """
        from benchbench.running.interrupts import RememberedInterrupts
        from benchbench.running.pilots import run_on_pilots
        from benchbench.running.runner import run_plan

        component = self.executor.component
        if self._has_pilots():
            order = self._work_order(options)
            with self.host.with_listeners(listeners):
                return run_on_pilots(self.plan, self.host, self.store, component, order)
        options = replace(options, executor_params=self.executor.params)
        with RememberedInterrupts(), self.host.with_listeners(listeners):
            return run_plan(self.plan, self.host, self.store, component, options)

    def _work_order(self, options: RunOptions) -> WorkOrder:
        """Order for the jobs of a cluster: `benchbench work` with the same suite and options."""
        from benchbench.executors.pilots import WorkOrder

        file, name = self.plan.file, self.executor.name
        if file.path is None:
            raise BenchBenchError(f"executor '{name}' needs a suite that is a file, which its jobs can read; save it")
        timeout = [f"--stage-timeout={options.stage_timeout}"] if options.stage_timeout is not None else []
        changes = [each.argument for each in file.source.overrides if each.parts[0] != "executor"]
        arguments = [
            str(file.path.absolute()),
            f"--store={self.store.root.absolute()}",
            f"--data={self.data_root.absolute()}",
            *(f"--set={change}" for change in changes),
            *(f"--plugin={path.absolute()}" for path in self.plugins),
            *(f"--only={choice}" for choice in self.only),
            *(f"--skip={choice}" for choice in self.skip),
            *([f"--device={self.device}"] if self.device != DEFAULT_DEVICE else []),
            *([f"--jobs={self.jobs}"] if self.jobs is not None else []),
            f"--checkpoint-seconds={options.checkpoint_seconds}",
            f"--cohort={options.max_cohort}",
            *timeout,
        ]
        return WorkOrder(self.store.root.absolute(), tuple(arguments), self.executor.params)

    def replanned(self, file: SuiteFile) -> Experiment:
        """The experiment of another suite file, or of its own on the devices that are known by now."""
        from benchbench.executors.base import DeviceRequest
        from benchbench.executors.choice import plan_for_executor

        asked = DeviceRequest(self.device, self.jobs, store=self.store.root)
        plan, choice = plan_for_executor(file, self.host, self.data_root, asked)
        return replace(self, plan=plan, executor=choice)

    def on_known_devices(self) -> Experiment:
        """The same on the devices that jobs of a cluster turned out to have."""
        return self.replanned(self.plan.file) if self._has_pilots() else self

    def _has_pilots(self) -> bool:
        """True where stages run in jobs of a cluster, and none in reach of this process."""
        from benchbench.executors.pilots import PilotExecutor

        return issubclass(self.executor.component.load(), PilotExecutor)

    def calibrate(self, *, progress: bool | None = None) -> Outcome:
        """Measures how fast the suite's networks run here, which predictions of hours need; takes minutes.

        Args:
            progress: as of `benchbench.run`.

        Example:
            >>> outcome = plan.calibrate()
            >>> hours = plan.hours
        """
        from benchbench.costs.estimate import MEASURING
        from benchbench.running.notebook import shown_progress
        from benchbench.running.runner import RunOptions

        if self._has_pilots():
            raise BenchBenchError(f"executor '{self.executor.name}' measures as it runs; leave --calibrate out")
        part = replace(self, plan=self.plan.part(MEASURING))
        with shown_progress(progress, {}) as views:
            return part.execute(RunOptions(self.data_root, max_cohort=1), views)

    def report_command(self, template: str = DEFAULT_TEMPLATE) -> str:
        """The command that makes this report again."""
        return self.command("report", *(["--template", template] if template != DEFAULT_TEMPLATE else []))

    def command(self, name: str, *further: str) -> str:
        """A command on this suite: with its overrides, plugins, folders, device and jobs, and further options."""
        from benchbench.suite.shipped import suite_argument

        file = self.plan.file
        if file.path is None:
            return f"benchbench.{name}(plan), of a suite that is no file"
        changes = [each for each in file.source.overrides if self._is_told(each)]
        options = [word for each in changes for word in ("--set", each.argument)]
        options += [word for path in self.plugins for word in ("--plugin", str(path))]
        options += ["--store", str(self.store.root)] if self.store.root != Path(DEFAULT_STORE) else []
        options += ["--data", str(self.data_root)] if self.data_root != Path(DEFAULT_DATA) else []
        options += ["--device", self.device] if self.device != DEFAULT_DEVICE else []
        options += ["--jobs", str(self.jobs)] if self.jobs is not None else []
        return shlex.join(["benchbench", name, suite_argument(file.path), *options, *further])

    def _is_told(self, change: Override) -> bool:
        """True where a report depends on a change of the suite: not on which executor had this machine's devices."""
        return change.parts[0] != "executor" or self.executor.name not in ("local", "inline")

    def __repr__(self) -> str:
        return self.overview().brief()

    def _repr_html_(self) -> str:
        return self.overview().arms()._repr_html_()


class Figures(Mapping[str, "matplotlib.figure.Figure"]):
    """Matplotlib figures by name, each drawn when it is first asked for; notebooks show them."""

    def __init__(self, report: Report):
        self._figures = report.figure_by_name

    def __getitem__(self, name: str) -> matplotlib.figure.Figure:
        figure = self._figures[name].figure
        _show_figures_in_notebook()
        return figure

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        return repr(self._figures)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._figures.names)


def _show_figures_in_notebook() -> None:
    """Asks IPython to show figures as pictures, as it does itself once pyplot is imported."""
    from matplotlib.figure import Figure

    from benchbench.running.notebook import notebook_shell

    shell = notebook_shell()
    if shell is None or Figure in shell.display_formatter.formatters["image/png"].type_printers:
        return
    from IPython.core.pylabtools import select_figure_formats

    select_figure_formats(shell, {"retina"})


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Results, tables and figures of a suite, from what its store had when this was made.

    Attributes:
        experiment: the planned suite.
        report: results, tables and figures with their captions.
        outcome: of the run; None where nothing was run.
    """

    experiment: Experiment
    report: Report
    outcome: Outcome | None = None

    @property
    def results(self) -> pd.DataFrame:
        """One row per cell; the columns are those of results.csv, with accuracies in 0..1 and device-hours."""
        return self.report.results

    @property
    def tables(self) -> LazyMapping[Table]:
        """Tables by name; those without anything to show are left out."""
        return self.report.table_by_name

    @property
    def figures(self) -> Figures:
        """Matplotlib figures by name; those without anything to show are left out."""
        return Figures(self.report)

    def with_theme(self, theme: str) -> Run:
        """The same with figures that are `light` (for print), or `dark`.

        Raises:
            UnknownNameError: there is no such theme.

        Example:
            >>> run.with_theme("dark").figures["pareto"]  # doctest: +SKIP
        """
        if theme not in THEMES:
            raise UnknownNameError(f"no theme '{theme}'; {did_you_mean(theme, THEMES)}")
        return replace(self, report=replace(self.report, theme=theme))

    @property
    def answer(self) -> str:
        """The outcome in one sentence, or one per data set and student."""
        return self.report.answer

    @property
    def failed(self) -> dict[str, str]:
        """Reasons of the stages that failed, or that need one which did, by their labels."""
        stages = self.experiment.plan.stages
        if self.outcome is not None:
            failed = self.outcome.failed.items()
            return {stages[key].label: reason for key, reason in failed if key in stages}
        rows = self.results[self.results.status == "failed"]
        return {stages[row.key].label: one_line(str(row.reason)) for row in rows.itertuples()}

    def write(
        self, folder: str | Path | None = None, formats: Sequence[str] = DEFAULT_FORMATS, wrong_images: int = 0
    ) -> list[Path]:
        """Writes tables and figures, and results.csv; files of an earlier report in the folder are removed.

        Args:
            folder: made where it does not exist; default: `reports/NAME-OF-SUITE`.
            formats: md, tex, csv and txt of tables, pdf and png of figures, html for `page`.
            wrong_images: as of `page`.

        Returns:
            The files; no tables or figures where no cell is done.

        Raises:
            BenchBenchError: an unknown format, or the folder cannot be written.

        Example:
            >>> paths = run.write("paper/results", ["tex", "pdf"])
        """
        from benchbench.reports.folder import write_folder
        from benchbench.reports.write import further_files, write_report

        kinds = [formats] if isinstance(formats, str) else list(formats)
        if unknown := set(kinds) - set(FORMATS):
            raise BenchBenchError(f"unknown format '{min(unknown)}'; there are {', '.join(FORMATS)}")
        target, page = self._folder(folder), self._page_file(wrong_images) if PAGE in kinds else {}
        kinds = [kind for kind in kinds if kind != PAGE]
        if not kinds or not (self.results.status == "done").any():
            return write_folder(target, page, self.report.plan.registry) if page else []
        # Without need of them, matplotlib is not imported, which takes a second.
        figures = self.report.figures if set(FIGURE_FORMATS) & set(kinds) else []
        return write_report(self.report, target, kinds, page | further_files(self.report, figures, kinds))

    def _page_file(self, wrong_images: int) -> dict[str, bytes]:
        from benchbench.reports.page import NAME, page_data, render, sheet_request

        sheets = sheet_request(wrong_images, self.experiment.data_root)
        return {NAME: render(page_data(self.report, sheets=sheets)).encode()}

    def page(self, folder: str | Path | None = None, wrong_images: int = 0) -> Path:
        """Writes one HTML file with all tables, charts, reasons and logs, `report.html`; needs no network.

        Args:
            folder: made where it does not exist; default: `reports/NAME-OF-SUITE`.
            wrong_images: images of a run that it shows, at most 24: those that it takes most surely for another class;
                of a segmentation or a detection the worst ones.

        Returns:
            The file.

        Raises:
            BenchBenchError: the folder cannot be written, or there are not so many images in a sheet.

        Example:
            >>> path = run.page("reports/mine")
        """
        from benchbench.reports.page import sheet_request, write_page

        sheets = sheet_request(wrong_images, self.experiment.data_root)
        return write_page(self.report, self._folder(folder), sheets)

    def _folder(self, folder: str | Path | None) -> Path:
        return Path("reports") / self.experiment.name if folder is None else given_path(folder)

    def _state(self) -> str:
        counts = self.results.status.value_counts()
        states = ", ".join(f"{counts[state]} {state}" for state in ("done", "failed", "missing") if state in counts)
        return f"{self.experiment.name}: {len(self.results)} cells: {states}"

    def __repr__(self) -> str:
        return "\n".join([self._state(), self.answer, repr(self.tables), repr(self.figures)])

    def _repr_html_(self) -> str:
        from html import escape

        table = accuracy._repr_html_() if (accuracy := self.tables.get("accuracy")) is not None else ""
        texts = [self._state(), self.answer, *(f"failed: {name}: {why}" for name, why in self.failed.items())]
        return "".join(f"<p>{escape(text)}</p>" for text in texts) + table
