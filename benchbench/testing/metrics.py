"""The contract of a metric: stored answers of its task in, one finite number of 0..1 out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchbench.components import Component, Params
from benchbench.planning.tasks import task_of
from benchbench.store import Predictions
from benchbench.testing.check import Call, Options, require

IMAGES, CLASSES, LIKELIEST = 16, 8, 5


@dataclass(frozen=True)
class MetricCase:
    """A metric, and invented answers of its task."""

    component: Component

    def answers(self, right: bool) -> Any:
        """Answers on images, all right or all wrong."""
        labels = np.arange(IMAGES) % CLASSES
        given = labels if right else (labels + 1) % CLASSES
        task = task_of(self.component)
        if task == "classification":
            classes = (given[:, None] + np.arange(LIKELIEST)) % CLASSES  # of wrong answers, no label is among them
            probabilities = np.array([0.6, 0.2, 0.1, 0.06, 0.04], np.float16)
            return Predictions(labels, classes, np.tile(probabilities, (IMAGES, 1)))
        if task == "segmentation":
            confusions = np.zeros((IMAGES, CLASSES, CLASSES), np.int64)
            confusions[np.arange(IMAGES), labels, given] = 64
            return confusions
        rows = np.zeros((IMAGES, 3, 7), np.float32)  # the last row of each image is none
        rows[:, 0] = [4, 4, 20, 20, 0, 0, 2]
        rows[:, 1] = [4, 4, 20, 20, 0, 0.9, 1] if right else [30, 30, 40, 40, 0, 0.9, 1]
        rows[:, :2, 4] = labels[:, None]
        return rows

    def value(self, answers: Any) -> float:
        value = self.component.load()(answers, CLASSES)
        number = isinstance(value, int | float | np.number)
        require(number, f"it gives a {type(value).__name__}: give a number of 0..1, the best is 1")
        return float(value)


def check_range(case: MetricCase) -> None:
    """A finite number of 0..1, which is higher for answers that are all right."""
    right, wrong = (case.value(case.answers(each)) for each in (True, False))
    for value in (right, wrong):
        require(0 <= value <= 1, f"it gives {value}: give a finite number of 0..1")
    require(right > wrong, f"right answers have {right}, and wrong ones {wrong}: the higher value is the better one")


def check_determinism(case: MetricCase) -> None:
    """The same answers give the same value, and are left as they are."""
    answers = case.answers(True)
    before = copy.deepcopy(answers)
    first = case.value(answers)
    arrays = [list(vars(each).values()) if isinstance(each, Predictions) else [each] for each in (answers, before)]
    same = all(np.array_equal(one, other) for one, other in zip(*arrays, strict=True))
    require(same, "it writes into the answers: let it work on a copy")
    require(case.value(answers) == first, "the same answers give another value")


def check_parameters(case: MetricCase) -> None:
    """It has none: a column has one meaning."""
    require(case.component.params is Params, "a metric takes no parameters: offer one component for each value")


CHECKS: Mapping[str, Callable[[MetricCase], str | None]] = {
    "parameters": check_parameters,
    "range": check_range,
    "determinism": check_determinism,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a metric, ready to run."""
    case = MetricCase(component)
    return {name: partial(check, case) for name, check in CHECKS.items()}
