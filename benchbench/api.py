"""The library: plan a suite, run it, report it. The command line calls these functions and prints.

Importing this module imports neither torch nor pandas: each function imports what it needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.errors import BenchBenchError
from benchbench.hardware.platform import require_platform

if TYPE_CHECKING:
    from benchbench.costs.estimate import CostEstimate
    from benchbench.planning.model import Plan
    from benchbench.plugins import PluginHost
    from benchbench.reports.report import Report
    from benchbench.running.schedule import Outcome
    from benchbench.store import Store

PAGE = "html"
FIGURE_FORMATS = ("pdf", "png")
FORMATS = ("md", "tex", "csv", "txt", *FIGURE_FORMATS, PAGE)  # of tables, of figures, and of all together
DEFAULT_FORMATS = ("md", "tex", "csv", *FIGURE_FORMATS)
DEFAULT_TEMPLATE = "full"


@dataclass(frozen=True)
class Experiment:
    """A planned suite, with the plugins that it uses and the folders of its results and data.

    Attributes:
        plan: its stages and cells.
        host: its plugins.
        store: folder of results.
        data_root: folder of downloads.
        executor: name of the executor component that runs its stages.
    """

    plan: Plan
    host: PluginHost
    store: Store
    data_root: Path
    executor: str

    @property
    def name(self) -> str:
        return self.plan.suite.name


def plan(
    suite: str | Path,
    *,
    store: str | Path = "runs",
    data: str | Path = "data",
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    device: str = "auto",
    jobs: int | None = None,
    executor: str = "local",
) -> Experiment:
    """Reads a suite file and expands it; nothing runs.

    Args:
        suite: the YAML file, or the name of a suite that ships: `quickstart`.
        store: folder of results; it need not exist.
        data: folder of downloads.
        overrides: `dotted.key=value` each, the value in YAML.
        plugins: plugin files, beside those that the suite names.
        device: cpu, cuda, cuda:N, or auto.
        jobs: workers side by side; default: one per core, at most 8; one per GPU.
        executor: name of the executor component, which says what devices there are.

    Raises:
        BenchBenchError: the suite, a plugin, the store or the device cannot be used; one line that says why.
    """
    from benchbench.planning.expand import make_plan
    from benchbench.plugins import load_plugins
    from benchbench.store import Store
    from benchbench.suite.file import load_suite
    from benchbench.suite.shipped import suite_path

    require_platform()
    results = Store(Path(store))
    results.check_format()
    file = load_suite(suite_path(suite), overrides)
    host = load_plugins([*file.plugin_files(), *map(Path, plugins)])
    devices = host.registry.get("executor", executor).load().find_devices(device, jobs)
    expanded = make_plan(file, host.registry, devices, Path(data))
    return Experiment(expanded, host, results, Path(data), executor)


def estimate(experiment: Experiment) -> dict[str, CostEstimate]:
    """Images and FLOPs of every stage that trains or runs a network, by key.

    Raises:
        SuiteError: a network that cannot be built, or a loss that cannot work on its networks.
    """
    from benchbench.costs.estimate import estimate as estimate_plan
    from benchbench.costs.network_check import check_networks

    check_networks(experiment.plan)
    return estimate_plan(experiment.plan)


def calibrate(experiment: Experiment, *, listeners: Sequence[object] = ()) -> Outcome:
    """Measures how fast the suite's networks run here, which predictions of hours need; takes minutes."""
    from benchbench.costs.estimate import MEASURING

    return run(replace(experiment, plan=experiment.plan.part(MEASURING)), cohort=1, listeners=listeners)


def run(
    experiment: Experiment,
    *,
    checkpoint_seconds: float = 30.0,
    cohort: int = 8,
    listeners: Sequence[object] = (),
) -> Outcome:
    """Runs all stages that are not done yet; a second call goes on where the first was interrupted.

    Args:
        experiment: the planned suite.
        checkpoint_seconds: work of a stage that a kill may cost.
        cohort: most cells that train side by side behind one teacher; 1: each alone.
        listeners: objects with lifecycle hooks, for this run alone.

    Raises:
        StoreError: the store is in use, of another format, or cannot be written.
    """
    from benchbench.running.runner import RunOptions, run_plan

    component = experiment.plan.registry.get("executor", experiment.executor)
    options = RunOptions(experiment.data_root, checkpoint_seconds, cohort)
    experiment.store.open()
    with _registered(experiment.host, listeners):
        return run_plan(experiment.plan, experiment.host, experiment.store, component, options)


@contextlib.contextmanager
def _registered(host: PluginHost, listeners: Sequence[object]) -> Iterator[None]:
    for listener in listeners:
        host.manager.register(listener)
    try:
        yield
    finally:
        for listener in listeners:
            host.manager.unregister(listener)


def report(experiment: Experiment, *, template: str = DEFAULT_TEMPLATE, command: str | None = None) -> Report:
    """The results of a suite and the tables of a template, from what the store has.

    Args:
        experiment: the planned suite.
        template: name of a template component.
        command: that makes the report, for its footer; default: the plain one.

    Raises:
        BenchBenchError: there is no such template.
    """
    from benchbench.reports.report import make_report
    from benchbench.suite.shipped import suite_argument

    command = command or f"benchbench report {suite_argument(experiment.plan.file.path)}"
    return make_report(experiment.plan, experiment.store, command, template)


def require_template(experiment: Experiment, template: str, tables: Sequence[str] = ()) -> None:
    """Refuses a template that does not exist, and tables that it does not have, before hours of work.

    Raises:
        BenchBenchError: there is no such template, it does not work, or it has no such table; "all" names every one.
    """
    from benchbench.reports.templates import require_tables

    require_tables(experiment.plan.registry, template, [name for name in tables if name != "all"])


def write_page(finished: Report, folder: str | Path) -> Path:
    """Writes a report as one HTML file; of a suite without a finished cell too, for it shows reasons and logs.

    Raises:
        StoreError: the folder cannot be written.
    """
    from benchbench.reports.page import write_page as write_html

    return write_html(finished, Path(folder))


def write_report(finished: Report, folder: str | Path, formats: Sequence[str] = DEFAULT_FORMATS) -> list[Path]:
    """Writes a report's tables and figures.

    Args:
        finished: the report.
        folder: made where it does not exist.
        formats: of `FORMATS`, without the page.

    Returns:
        The files; none where no cell is done.

    Raises:
        StoreError: the folder cannot be written.
    """
    from benchbench.reports.write import further_files
    from benchbench.reports.write import write_report as write_files

    if unknown := set(formats) - set(FORMATS):
        raise BenchBenchError(f"unknown format '{min(unknown)}'; there are {', '.join(FORMATS)}")
    if not (finished.results.status == "done").any():
        return []
    # Without need of them, matplotlib is not imported, which takes a second.
    figures = finished.figures if set(FIGURE_FORMATS) & set(formats) else []
    return write_files(finished, Path(folder), formats, further_files(finished, figures, formats))
