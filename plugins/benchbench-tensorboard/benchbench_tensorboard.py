"""A TensorBoard run for every stage that finishes: its curve, its metrics and its hours."""

import os
import re
from pathlib import Path

from benchbench import hookimpl


@hookimpl
def benchbench_stage_finished(stage, record, folder):
    from torch.utils.tensorboard import SummaryWriter  # here, so that listing plugins never imports torch

    from benchbench.store import StageFolder

    root = Path(os.environ.get("BENCHBENCH_TENSORBOARD", "tensorboard"))
    results = {name: value for name, value in record.metrics if isinstance(value, int | float)}
    results["device_hours"] = record.cost.device_hours
    curve = StageFolder(folder).read_curve()
    last = curve[-1]["epoch"] if curve else 0
    # The key separates runs of one label, of two suites say; no label leads out of the folder.
    with SummaryWriter(root / f"{re.sub(r'[^0-9A-Za-z.]+', '-', stage.label).strip('.-')}-{stage.key[:8]}") as writer:
        for row in curve:
            for term in row.keys() - {"epoch"}:
                writer.add_scalar(f"curve/{term}", row[term], row["epoch"])
        for name, value in results.items():
            writer.add_scalar(f"result/{name}", value, last)
