"""Every stage that finishes becomes a TensorBoard run: its curve, its figures and its hours."""

import os
import re
from pathlib import Path

from benchbench import hookimpl


@hookimpl
def benchbench_stage_finished(stage, record, folder):
    from torch.utils.tensorboard import SummaryWriter  # here, so that listing plugins never imports torch

    from benchbench.store import StageFolder

    root = Path(os.environ.get("BENCHBENCH_TENSORBOARD", "tensorboard"))
    figures = {name: value for name, value in record["metrics"].items() if isinstance(value, int | float)}
    figures["device_hours"] = record["cost"]["device_hours"]
    curve = StageFolder(folder).read_curve()
    last = curve[-1]["epoch"] if curve else 0
    # The key keeps runs apart that have one label, of two suites say; no label leads out of the folder.
    with SummaryWriter(root / f"{re.sub(r'[^0-9A-Za-z.]+', '-', stage.label).strip('.-')}-{stage.key[:8]}") as writer:
        for row in curve:
            for term in row.keys() - {"epoch"}:
                writer.add_scalar(f"curve/{term}", row[term], row["epoch"])
        for name, value in figures.items():
            writer.add_scalar(f"result/{name}", value, last)
