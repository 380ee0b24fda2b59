"""The cell of a search: it chooses among trials by validation accuracy, and tests the best one, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from benchbench.errors import StageError, StoreError
from benchbench.specs.records import ChosenTrial, TrainingRecord
from benchbench.specs.stages import OTHER_SEEDS, TRIAL, TrainingSpec
from benchbench.stages.context import StageResult
from benchbench.stages.data import SplitData
from benchbench.stages.float32 import float32_of
from benchbench.stages.retest import TrainingContext, test_part, trained_network
from benchbench.stages.timer import StageTimer
from benchbench.store import StageFolder, file_sha256, write_atomic


def run(context: TrainingContext) -> StageResult:
    """Chooses, tests, and leaves the weights of the chosen trial; the cost is that of the test.

    Raises:
        StageError: every trial has diverged.
        StoreError: a trial's record, spec or weights are damaged.
    """
    torch.set_num_threads(context.threads)
    timer, accuracies = StageTimer(context), _accuracies(context.needs)
    index = best_trial(accuracies)
    if index is None:
        raise StageError("every trial has diverged, so there is none to test; search other values")
    folder = context.needs[f"{TRIAL}{index}"]
    record, trial = _record(folder), folder.read_spec()
    assert isinstance(trial, TrainingSpec)
    spec = context.spec.model_copy(update={"recipe": trial.recipe, "loss": trial.loss})
    print(f"trial {index + 1} of {len(accuracies)} is the best on the validation images: {record.label}")
    # The weights are read where they lie, and the test split is the one that this cell has now.
    chosen: TrainingContext = replace(context, spec=spec, folder=folder)
    with float32_of(chosen):
        with timer.section("loading"):
            weights = folder.verified_weights().read_bytes()
            data = SplitData(chosen)
            network = trained_network(chosen, record, len(data.classes))
            test = data.test()
        with timer.section("evaluation"), torch.no_grad():
            tested = test_part(network, test, spec.recipe.batch_size, context.folder)
    with timer.section("checkpoint"):
        write_atomic(context.folder.weights, weights)
    changes = {
        "kind": "cell",
        "metrics": record.metrics.model_copy(update=dict(tested)),
        "data": data.record,
        "weights_sha256": file_sha256(context.folder.weights),
        "cost": timer.cost(),
        "chosen": ChosenTrial(key=record.key, recipe=trial.recipe, loss=trial.loss),
    }
    return StageResult(record.model_copy(update=changes), folder.read_curve())


def best_trial(accuracies: Mapping[int, list[float | None]]) -> int | None:
    """The trial with the highest mean validation accuracy over seeds, the first of several.

    Args:
        accuracies: of each seed, by trial; None where it has diverged, and then the trial is not chosen.
    """
    means = {index: sum(filter(None, each)) / len(each) for index, each in accuracies.items() if None not in each}
    return max(means, key=lambda index: (means[index], -index), default=None)


def _accuracies(needs: Mapping[str, StageFolder]) -> dict[int, list[float | None]]:
    """Validation accuracies of every seed, by trial."""
    accuracies: dict[int, list[float | None]] = {}
    for role, folder in needs.items():
        name = role.removeprefix(OTHER_SEEDS)
        if name.startswith(TRIAL):
            index = int(name.removeprefix(TRIAL).partition(".")[0])
            accuracies.setdefault(index, []).append(_record(folder).metrics.validation_accuracy)
    return accuracies


def _record(folder: StageFolder) -> TrainingRecord:
    record = folder.done()
    if not isinstance(record, TrainingRecord):
        raise StoreError(f"{folder.path} holds no finished trial; delete it to run it again")
    return record
