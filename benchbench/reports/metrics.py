"""Metrics that are components: scores of a cell's stored answers, each a column of the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.components import Component
from benchbench.errors import PluginError, one_line

if TYPE_CHECKING:
    import numpy as np

    from benchbench.specs.records import TrainingRecord
    from benchbench.store import StageFolder

# By the file of predictions, its version and the function: tables and pages ask again and again.
_KNOWN: dict[tuple[str, int, int, object], float] = {}
LEVEL_75 = 5  # of the overlaps 0.5, 0.55, ...


def ap75(rows: np.ndarray, classes: int) -> float:
    """Mean over the classes of the average precision of boxes that count as found from an overlap of 0.75 on.

    Args:
        rows: boxes of every image, as `benchbench.statistics.detection` has them [N, L, 7].
        classes: number of classes.
    """
    from benchbench.statistics.detection import average_precisions, match, mean_average_precision

    value = mean_average_precision(average_precisions(match(rows))[LEVEL_75 : LEVEL_75 + 1])
    return 0.0 if math.isnan(value) else value


def metric_values(folder: StageFolder, record: TrainingRecord, metrics: Sequence[Component]) -> dict[str, float | None]:
    """The values of some metrics on the answers of a finished cell; None where it has stored none.

    Raises:
        PluginError: a metric fails, or gives no finite number.
        StoreError: the answers are damaged, or are not those of the record.
    """
    import numpy as np

    from benchbench.reports.answer_metrics import image_boxes, image_confusions, predictions_of

    read = {"map": image_boxes, "miou": image_confusions, "accuracy": predictions_of}[record.metrics.score]
    if not metrics or (answers := read(folder, record)) is None:
        return {each.name: None for each in metrics}
    if isinstance(answers, np.ndarray) and answers.dtype.kind == "u":
        answers = answers.astype(np.int64)  # differences of numbers without a sign would wrap around
    state, values = folder.predictions.stat(), dict[str, float | None]()
    for each in metrics:
        key = str(folder.predictions), state.st_mtime_ns, state.st_size, each.load()
        if key not in _KNOWN:
            _KNOWN[key] = _value(each, answers, len(record.data.names))
        values[each.name] = _KNOWN[key]
    return values


def _value(metric: Component, answers: object, classes: int) -> float:
    try:
        value = float(metric.load()(answers, classes))
    except Exception as error:  # a plugin's code
        raise PluginError(f"metric '{metric.name}' failed ({one_line(error)})") from error
    if not math.isfinite(value):
        raise PluginError(f"metric '{metric.name}' gave {value}; it must give a finite number")
    return value
