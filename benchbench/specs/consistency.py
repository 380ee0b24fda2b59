"""Records compared with themselves: a number that another part of the record contradicts has been changed since."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchbench.specs.records import Cost, StageRecord, TrainingMetrics, TrainingRecord

# Sums are of doubles, and stages write them as they are.
TOLERANCE = 1e-6
UNCHARGED = ("loading", "gradients")  # the sections that device-hours leave out
LARGEST = 2**63  # of a whole number


def find_contradiction(record: StageRecord) -> str | None:
    """The first part of a record that another part of it contradicts, in words; None where all of it agrees."""
    return next(_contradictions(record), None)


def _contradictions(record: StageRecord) -> Iterator[str]:
    yield from _of_cost(record.cost)
    if isinstance(record, TrainingRecord):
        yield from _of_training(record.metrics)
    for name in ("synthesis", "data"):
        value = getattr(record, name, None)
        free = value if isinstance(value, dict) else getattr(value, "synthetic", None)
        if free is not None and not _is_plain(free):
            yield f"{name} has a number that is not finite, or too large"


def _of_cost(cost: Cost) -> Iterator[str]:
    for hours, name in ((cost.device_hours, "seconds"), (cost.alone_device_hours, "alone_seconds")):
        sections: Mapping[str, float] = getattr(cost, name)
        if any(seconds < -TOLERANCE for seconds in sections.values()):
            yield f"cost.{name} has a negative time"
        charged = sum(seconds for section, seconds in sections.items() if section not in UNCHARGED)
        expected = charged * cost.devices / 3600
        if not math.isclose(hours, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 3600):
            field = f"cost.{name.removesuffix('seconds')}device_hours"
            yield f"{field} is {hours:g}, and cost.{name} on {cost.devices:g} devices are {expected:g}"


def _of_training(metrics: TrainingMetrics) -> Iterator[str]:
    accuracy, count = metrics.test_accuracy, metrics.test_count
    for name, value in (("test_accuracy", accuracy), ("validation_accuracy", metrics.validation_accuracy)):
        if value is not None and not 0 <= value <= 1:
            yield f"metrics.{name} is {value:g}, not in 0..1"
    if not metrics.test_correct:
        return
    num_bytes = -(-count // 8)
    try:
        bits = bytes.fromhex(metrics.test_correct)
    except ValueError:
        bits = b""
    if len(bits) != num_bytes:
        yield f"metrics.test_correct is not {num_bytes} bytes in hex for {count} images"
        return
    number = int.from_bytes(bits)
    if number % (1 << (8 * num_bytes - count)):
        yield f"metrics.test_correct has more bits than the {count} test images"
    right = number.bit_count()
    if accuracy is None or abs(accuracy - right / count) > TOLERANCE:
        yield f"metrics.test_accuracy is {accuracy}, and test_correct has {right} of {count} images right"


def _is_plain(value: JsonValue) -> bool:
    """True where all numbers of a JSON value are finite, and of a size that JSON readers take."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, int | float) or (math.isfinite(value) and abs(value) < LARGEST)


def is_curve_row(row: JsonValue) -> bool:
    """True where a JSON value is a row of a training curve: numbers by name, of which a loss may be NaN."""
    if not isinstance(row, dict):
        return False
    return all(type(value) is float or (type(value) is int and abs(value) < LARGEST) for value in row.values())
