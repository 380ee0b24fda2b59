"""One line in a CSV file for every stage that finishes or fails: the example of lifecycle hooks."""

import csv
import os
import time
from pathlib import Path

from benchbench import hookimpl

COLUMNS = ("time", "event", "stage", "device_hours", "test_accuracy", "reason")


@hookimpl
def benchbench_stage_finished(stage, record):
    accuracy = getattr(record.metrics, "test_accuracy", None)  # a calibration has none
    _write("finished", stage.label, record.cost.device_hours, accuracy, None)


@hookimpl
def benchbench_stage_failed(stage, reason):
    _write("failed", stage.label, None, None, reason)


def _write(*values):
    path = Path(os.environ.get("BENCHBENCH_EVENTS", "benchbench-events.csv"))
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        writer.writerow([now, *values])
