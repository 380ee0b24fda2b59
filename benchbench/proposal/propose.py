"""From a folder of photographs to a suite with a length that fits: proposed, measured and written."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from benchbench import api
from benchbench.errors import BenchBenchError, one_line, printable
from benchbench.executors.stage_progress import duration
from benchbench.experiment import Experiment
from benchbench.proposal.length import SHORTEST, fitting_epochs
from benchbench.proposal.suite_text import Proposal
from benchbench.running.simulation import simulate_plan


@dataclass(frozen=True)
class Written:
    """A suite that was written.

    Attributes:
        experiment: the suite, planned.
        epochs: of every training.
        hours: that it is predicted to take; None where that is not known.
    """

    experiment: Experiment
    epochs: int
    hours: float | None


def write_suite(proposal: Proposal, hours: float, **options: Any) -> Written:
    """Measures how fast the proposed networks are here, and writes the suite with as many epochs as fit.

    Args:
        proposal: what is to be written, and where.
        hours: that the suite may take, of the wall clock.
        options: store, data, device and jobs, as `benchbench.plan` takes them.

    Raises:
        BenchBenchError: the file exists or cannot be written, the weights are not there, or nothing can be measured.
    """
    file = proposal.file
    try:
        content = proposal.text(SHORTEST).encode()
    except UnicodeEncodeError:
        raise BenchBenchError(f"the name of {printable(str(proposal.folder.path))} is no UTF-8; rename it") from None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        raise BenchBenchError(f"{file} exists already; give another --output FILE, or run that one") from None
    except OSError as error:
        raise BenchBenchError(f"cannot write {file} ({one_line(error)}); give another --output FILE") from None
    try:
        return _fitted(proposal, hours, options)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _fitted(proposal: Proposal, hours: float, options: dict[str, Any]) -> Written:
    experiment = api.plan(proposal.file, **options)
    if experiment.plan.devices.kind == "cuda":
        proposal = replace(proposal, on_gpu=True)
        proposal.file.write_text(proposal.text(SHORTEST), encoding="utf-8")
        experiment = api.plan(proposal.file, **options)
    api.check(experiment)
    api.check_images(experiment)
    if failed := experiment.calibrate(progress=True).failed:
        raise BenchBenchError(f"the networks cannot be measured here: {next(iter(failed.values()))}")

    @functools.cache
    def hours_of(epochs: int) -> float | None:
        return _hours(api.plan(proposal.file, overrides={"recipes.default.epochs": epochs}, **options))

    epochs = fitting_epochs(hours_of, hours)
    expected = hours_of(epochs)
    reason = (
        f"{epochs} epochs: about {duration(3600 * expected)} on {experiment.plan.devices.name}." if expected else ""
    )
    proposal.file.write_text(proposal.text(epochs, reason), encoding="utf-8")
    return Written(api.plan(proposal.file, **options), epochs, expected)


def _hours(experiment: Experiment) -> float | None:
    """Hours of the wall clock that a suite will take on its slots; None where they are not known."""
    runs = simulate_plan(experiment.plan, experiment.store, experiment.overview().hours)
    return runs[0].hours if runs else None
