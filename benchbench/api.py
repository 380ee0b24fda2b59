"""The library: plan a suite, run it, report it. The command line calls these functions and prints.

Importing this module imports neither torch nor pandas: each function imports what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.errors import BenchBenchError
from benchbench.experiment import DEFAULT_STORE, DEFAULT_TEMPLATE, Experiment, Run
from benchbench.hardware.platform import require_platform
from benchbench.suite.places import given_path

if TYPE_CHECKING:
    import pandas as pd

    from benchbench.costs.estimate import CostEstimate
    from benchbench.models.backbone import Backbone
    from benchbench.reports.compare import RunComparison
    from benchbench.reports.compare_inputs import Side
    from benchbench.running.runner import RunOptions
    from benchbench.running.schedule import Outcome
    from benchbench.store import Store
    from benchbench.suite.file import SuiteFile

PathLike = str | os.PathLike[str]
Overrides = Mapping[str, Any] | Sequence[str]


def load_suite(suite: SuiteFile | Mapping[str, Any] | PathLike, overrides: Overrides = ()) -> SuiteFile:
    """Reads a suite and checks all of it that needs no component.

    Args:
        suite: the name of a suite that ships (`quickstart`), the path of a YAML file, YAML text of several lines, or a
            dict with the keys of a suite file.
        overrides: other values of some parts: `{"recipes.default.epochs": 5}`, or `["recipes.default.epochs=5"]` with
            the values in YAML, as `--set` takes them.

    Returns:
        The suite, for `plan`.

    Raises:
        SuiteError: anything in it is wrong; one line with the file's line, or the keys that lead there.

    Example:
        >>> import benchbench as bb
        >>> bb.load_suite("quickstart", {"seeds": [0, 1, 2]}).suite.seeds
        [0, 1, 2]
    """
    from benchbench.suite.document import overrides_of
    from benchbench.suite.file import SuiteFile, build_suite, parse_suite
    from benchbench.suite.file import load_suite as read_suite
    from benchbench.suite.shipped import suite_path

    changes = overrides_of(overrides)
    if isinstance(suite, SuiteFile):
        return suite.replace(changes) if changes else suite
    if isinstance(suite, Mapping):
        return build_suite(suite, changes)
    if not isinstance(suite, str | os.PathLike):
        raise BenchBenchError(f"a suite is a name, a path, YAML text or a dict, and not {type(suite).__name__}")
    if isinstance(suite, str) and "\n" in suite:
        return parse_suite(suite, changes)
    return read_suite(suite_path(os.fspath(suite)), changes)


def plan(
    suite: SuiteFile | Mapping[str, Any] | PathLike,
    *,
    store: PathLike = DEFAULT_STORE,
    data: PathLike = "data",
    seeds: Sequence[int] | None = None,
    overrides: Overrides = (),
    plugins: Sequence[PathLike] = (),
    device: str = "auto",
    jobs: int | None = None,
    executor: str | Mapping[str, Any] | None = None,
    executor_settings: Sequence[str] = (),
    only: str | Sequence[str] = (),
    skip: str | Sequence[str] = (),
) -> Experiment:
    """Expands a suite into cells and the stages that they need; nothing runs, and nothing is written.

    Args:
        suite: as `load_suite` takes or gives it.
        store: folder of results; it need not exist.
        data: folder of downloads.
        seeds: in place of the suite's seeds.
        overrides: other values of some parts, as `load_suite` takes them.
        plugins: plugin files, beside those that the suite names.
        device: cpu, cuda, cuda:N, mps, or auto: CUDA if there is any.
        jobs: workers side by side; default: one per core, at most 8; one per GPU.
        executor: name of the executor component, which says what devices there are; or with parameters, as in
            `{"slurm": {"partition": "gpu"}}`. Default: the suite's own, else `local`.
        executor_settings: parameters of the executor, "partition=gpu", as `--executor-set` takes them.
        only, skip: a choice of the cells that `run` runs, "arm=KD,seed=0", or several: a cell fits one of `only` and
            none of `skip`. Reports are of the whole grid.

    Returns:
        The planned suite. It shows itself as a table: one row per arm with what is done, and predicted device-hours.
        `cells` has one row per cell, `hours` is the sum of what is left.

    Raises:
        BenchBenchError: the suite, a plugin, the store or the device cannot be used; one line that says why.

    Example:
        >>> import benchbench as bb
        >>> plan = bb.plan("quickstart", seeds=[0], device="cpu")
        >>> plan.cells.row.unique()[0]
        'scratch'
    """
    from benchbench.executors.base import DeviceRequest
    from benchbench.executors.choice import plan_for_executor, with_executor
    from benchbench.plugins import load_suite_plugins
    from benchbench.suite.document import Override

    require_platform()
    results, root, files = _store(store), given_path(data, "--data"), _paths(plugins)
    file = load_suite(suite, overrides)
    if seeds is not None:
        given = seeds if isinstance(seeds, int | str) else list(seeds)
        file = file.replace([Override("seeds", given, "argument")])
    host = load_suite_plugins(file, files)
    file = with_executor(file, executor, executor_settings)
    expanded, choice = plan_for_executor(file, host, root, DeviceRequest(device, jobs, store=results.root))
    choices = [(each,) if isinstance(each, str) else tuple(each) for each in (only, skip)]
    experiment = Experiment(expanded, host, results, root, choice, device, jobs, files, *choices)
    experiment.chosen()  # a choice that is none is said now
    return experiment


def _paths(paths: Sequence[PathLike]) -> tuple[Path, ...]:
    return tuple(given_path(each, "--plugin") for each in ([paths] if isinstance(paths, str | os.PathLike) else paths))


def _store(folder: PathLike) -> Store:
    from benchbench.store import Store

    store = Store(given_path(folder, "--store"))
    store.check_format()
    return store


def _moved(experiment: object, store: PathLike | None, executor: str | Mapping[str, Any] | None = None) -> Experiment:
    """An experiment with another store or executor, where they are given."""
    if not isinstance(experiment, Experiment):
        raise BenchBenchError(f"this takes what benchbench.plan(suite) gives, and not {type(experiment).__name__}")
    if store is not None:
        experiment = replace(experiment, store=_store(store))
    if executor not in (None, experiment.executor.name):
        from benchbench.executors.choice import with_executor

        experiment = experiment.replanned(with_executor(experiment.plan.file, executor))
    return experiment


def check(experiment: Experiment) -> None:
    """Refuses a suite whose networks or losses cannot work, of all that is not done yet.

    Raises:
        SuiteError: a network that cannot be built, or a loss that cannot work on its networks.
    """
    from benchbench.costs.network_check import check_networks

    check_networks(experiment.plan, experiment.store)


def check_images(experiment: Experiment, only_cheap: bool = False) -> list[str]:
    """Refuses images of the user's own that cannot be read, of all that is not done yet; each is decoded once.

    Args:
        experiment: the planned suite.
        only_cheap: leaves out splits that take longer than a moment, and gives them back.

    Raises:
        SuiteError: an image cannot be read.
    """
    from benchbench.costs.image_check import check_images as check_plan

    return check_plan(experiment.plan, experiment.store, experiment.data_root, only_cheap)


def estimate(experiment: Experiment) -> dict[str, CostEstimate]:
    """Images and FLOPs of every stage that trains or runs a network, by key.

    Raises:
        SuiteError: a network that cannot be built, or a loss that cannot work on its networks.
    """
    from benchbench.costs.estimate import estimate as estimate_plan

    check(experiment)
    return estimate_plan(experiment.plan)


def run(
    plan: Experiment,
    *,
    store: PathLike | None = None,
    executor: str | Mapping[str, Any] | None = None,
    progress: bool | None = None,
    checkpoint_seconds: float = 30.0,
    stage_timeout: float | None = None,
    cohort: int = 8,
    template: str = DEFAULT_TEMPLATE,
    listeners: Sequence[object] = (),
) -> Run:
    """Runs all stages that are not done yet, and reports; a second call goes on where the first was interrupted.

    Ctrl-C, or the button that interrupts a notebook, raises KeyboardInterrupt and leaves checkpoints in the store.

    Args:
        plan: the planned suite, of `benchbench.plan`.
        store: folder of results, in place of the plan's.
        executor: in place of the plan's, as `plan` takes it; `inline` runs stages in this very process.
        progress: whether to show the progress; default: in a notebook, and on a terminal.
        checkpoint_seconds: work of a stage that a kill may cost.
        stage_timeout: seconds after which a stage fails and its worker is ended; None for no limit.
        cohort: most cells that train side by side behind one teacher; 1: each alone.
        template: name of the template component that chooses tables and figures.
        listeners: objects with lifecycle hooks, for this run alone.

    Returns:
        The run: `results`, a DataFrame with one row per cell; `tables` and `figures` by name; `failed`, reasons by
        stage; `write(folder)` and `page(folder)`. A stage that fails ends no other.

    Raises:
        SuiteError: a network that cannot be built, a loss that cannot work on it, or an image that cannot be read.
        StoreError: the store is of another format, or cannot be written.
        BenchBenchError: there is no such executor or template, a number is no time, or the executor cannot end a stage.

    Example:
        >>> run = bb.run(plan, store="runs", executor="inline")
        >>> accuracy = run.results.groupby("row").accuracy.mean()
    """
    from benchbench.running.runner import RunOptions

    experiment = _moved(plan, store, executor)
    require_template(experiment, template)
    options = RunOptions(experiment.data_root, checkpoint_seconds, cohort, stage_timeout)
    outcome = work(experiment, options, progress, listeners)
    return replace(report(experiment.on_known_devices(), template=template), outcome=outcome)


def work(
    plan: Experiment, options: RunOptions, progress: bool | None = None, listeners: Sequence[object] = ()
) -> Outcome:
    """Runs stages beside other processes on the store until nothing is left or the time is up; errors as of `run`."""
    from benchbench.running.notebook import shown_progress

    plan = plan.chosen()
    weights = {key: each.flops for key, each in estimate(plan).items()}
    check_images(plan)
    with shown_progress(progress, weights) as views:
        return plan.execute(options, [*listeners, *views])


def report(plan: Experiment, *, store: PathLike | None = None, template: str = DEFAULT_TEMPLATE) -> Run:
    """The results of a suite from what the store has; nothing runs.

    Args:
        plan: the planned suite, of `benchbench.plan`.
        store: folder of results, in place of the plan's.
        template: name of the template component that chooses tables and figures.

    Returns:
        The same as `run` gives. Tables and figures are made when they are first asked for.

    Raises:
        BenchBenchError: there is no such template, or the store cannot be read.

    Example:
        >>> table = bb.report(plan).tables["accuracy"]
        >>> text = table.to_latex()
    """
    from benchbench.reports.report import make_report

    experiment = _moved(plan, store)
    command = experiment.report_command(template)
    return Run(experiment, make_report(experiment.plan, experiment.store, command, template))


def require_template(experiment: Experiment, template: str, tables: Sequence[str] = ()) -> None:
    """Refuses a template that does not exist, and tables that it does not have, before hours of work.

    Raises:
        BenchBenchError: there is no such template, it does not work, or it has no such table; "all" names every one.
    """
    from benchbench.reports.templates import require_tables

    require_tables(experiment.plan.registry, template, [name for name in tables if name != "all"])


def load_results(
    source: Experiment | SuiteFile | Mapping[str, Any] | PathLike,
    *,
    store: PathLike | None = None,
    data: PathLike = "data",
    plugins: Sequence[PathLike] = (),
) -> pd.DataFrame:
    """The results of a suite from a store, or of an earlier report.

    Args:
        source: a planned suite, a suite as `load_suite` takes it, or the path of a results.csv.
        store: folder of results of a suite; default: the plan's, else `runs`.
        data, plugins: of a suite that is not planned yet, as `plan` takes them.

    Returns:
        One row per cell. Among the columns are row (the arm), data, student, seed, status (done, failed or missing),
        accuracy (0..1; of a segmentation mIoU, of a detection mAP), own_hours (device-hours) and key.

    Raises:
        BenchBenchError: there is no such file, or it is not what it should be.

    Example:
        >>> results = bb.load_results("quickstart", store="runs")
        >>> missing = results[results.status != "done"]
    """
    if isinstance(source, str | os.PathLike) and given_path(source).suffix == ".csv":
        from benchbench.reports.compare_inputs import read_results

        return read_results(given_path(source))
    if not isinstance(source, Experiment):
        source = plan(source, store=store or DEFAULT_STORE, data=data, plugins=plugins)
    return report(source, store=store).results


def load_trained(
    cell: PathLike, *, store: PathLike = DEFAULT_STORE, plugins: Sequence[PathLike] = ()
) -> tuple[Backbone, tuple[str, ...]]:
    """A trained student, or an adapted teacher, and its class names.

    Args:
        cell: key of the stage (column `key` of the results) or the beginning of it, or the folder `STORE/cell/KEY`.
        store: folder of results.
        plugins: plugin files, where the network comes from one, or a loss that gave it another head.

    Returns:
        The network, in eval mode on the CPU, and the names of the C classes. It takes images [B, 3, H, W] (or other
        channels) in 0..1, which it normalises itself; its output has logits [B, C] and embedding [B, D]. Logits of a
        segmentation are [B, C, h, w], as its head gives them. Boxes of a detection are those of
        `network.detector.detections(network(images), size)`: of each image corners [K, 4] in pixels, scores, classes.

    Raises:
        StoreError: there is no such finished training, or its weights are damaged.

    Example:
        >>> student, classes = bb.load_trained(run.results.key[0])
        >>> logits = student(torch.rand(8, 3, 32, 32)).logits
    """
    folder = given_path(cell)
    if not (folder / "spec.json").is_file():
        folder = _store(store).find_trained(os.fspath(cell)).path
    from benchbench.export.load import load_trained as load_stage  # torch, after all that is refused at once

    return load_stage(folder, _paths(plugins))


def compare(
    a: Experiment | Run | PathLike,
    b: Experiment | Run | PathLike,
    *,
    data: PathLike = "data",
    plugins: Sequence[PathLike] = (),
) -> RunComparison:
    """Compares B with A: what differs, by how much, and whether it is more than chance.

    Args:
        a, b: planned suites or runs; or as on the command line: SUITE, SUITE@STORE, or a results.csv.
        data, plugins: of suites that are not planned yet, as `plan` takes them.

    Returns:
        The comparison: `differences` of test accuracy (0..1; mIoU, mAP) with 95 % intervals and p-values after Holm's
        correction, `changes` of specs, and `tables`. It shows itself as its tables.

    Raises:
        BenchBenchError: there is no such suite or file, or it is not what it should be.

    Example:
        >>> comparison = bb.compare("quickstart@runs", run)
        >>> differences = [each.difference for each in comparison.differences]
    """
    from benchbench.reports.compare import compare as compare_sides

    return compare_sides(*(_side(each, given_path(data, "--data"), _paths(plugins)) for each in (a, b)))


def _side(source: Experiment | Run | PathLike, data: Path, plugins: tuple[Path, ...]) -> Side:
    from benchbench.reports.compare_inputs import Side, load_side

    if isinstance(source, str | os.PathLike):
        return load_side(os.path.expanduser(os.fspath(source)), data, plugins)
    finished = source if isinstance(source, Run) else report(source)
    experiment = finished.experiment
    specs = {key: stage.spec for key, stage in experiment.plan.stages.items()}
    return Side(f"{experiment.name}@{experiment.store.root}", finished.results, specs)
