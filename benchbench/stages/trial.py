"""The stage that trains one trial of a search, or several side by side: as a cell, and without any test image."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.errors import DivergedError, StageError
from benchbench.specs.records import ModelRecord, TrainingMetrics, TrainingRecord
from benchbench.stages.context import StageResult
from benchbench.stages.tested import measure_of
from benchbench.stages.train import NONE, Cell, Shared, TestAnswers, TrainingContext, results_of, shared_by, trained
from benchbench.training.clock import Clock


def run(context: TrainingContext) -> StageResult:
    """Trains, and leaves weights and the accuracy on the validation images."""
    (result,) = run_group([context])
    if isinstance(result, Exception):
        raise result
    return result


def run_group(contexts: Sequence[TrainingContext]) -> list[StageResult | Exception]:
    """Trains trials of one cohort side by side; gives each one's result, or the error that ended it.

    A trial that diverges has a result too, without weights and without an accuracy: what it cost is part of the search.
    """
    return results_of(contexts, _train_together)


def _train_together(cells: Sequence[Cell], clock: Clock, side_by_side: int) -> None:
    shared = shared_by(cells, clock)
    if shared.inputs.validation is None:
        raise StageError("no class has an image to spare for validation, and trials are chosen by it; take more images")
    cohort = trained(cells, shared, clock, side_by_side)
    for cell in [cell for cell in cells if cell.result is None]:
        with cell.isolated():
            failure = cohort.failures.get(cell.member)
            if failure is None:
                cell.finish(shared, TestAnswers(NONE, NONE), side_by_side)
            else:
                cell.result = _without_weights(cell, failure, shared, side_by_side)
        if isinstance(cell.result, StageResult):
            cell.result = _validated(cell.result)


def _validated(result: StageResult) -> StageResult:
    """The result with the validation accuracy of the epoch whose weights it has, whatever the rule for epochs."""
    record = result.record
    assert isinstance(record, TrainingRecord)
    if record.weights_sha256 is None or record.metrics.validation_accuracy is not None:
        return result
    changes = {"validation_accuracy": result.curve[-1]["validation_accuracy"]}
    metrics = record.metrics.model_copy(update=changes)
    return StageResult(record.model_copy(update={"metrics": metrics}), result.curve)


def _without_weights(cell: Cell, failure: Exception, shared: Shared, side_by_side: int) -> StageResult | Exception:
    """The result of a trial that has diverged; every other failure is one."""
    if not isinstance(failure, DivergedError):
        return failure
    print(f"the trial has diverged, and is not chosen: {failure}")
    parameters = sum(p.numel() for p in cell.network.parameters())
    epoch, step = cell.member.position
    epochs = max(epoch + (step >= cell.member.steps), 0)  # the end of one finds out
    record = TrainingRecord(
        kind="trial",
        metrics=TrainingMetrics(
            test_accuracy=None, test_count=0, chosen_epoch=0, epochs=epochs, score=measure_of(cell.network)
        ),
        data=shared.data.record,
        model=ModelRecord(parameters=parameters, flops=cell.flops),
        teachers=shared.fingerprints,
        cost=cell.timer.cost(side_by_side, cell.images(shared)),
    )
    return StageResult(record, cell.member.curve)
