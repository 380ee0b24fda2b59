"""A Weights & Biases run for every stage that finishes: its spec, its curve, its metrics and its hours.

Offline unless WANDB_MODE is set to another mode: nothing leaves the machine before `wandb sync`.
"""

import os

from benchbench import hookimpl


@hookimpl
def benchbench_stage_finished(stage, record, folder):
    import wandb

    from benchbench.specs.parts import contents_only
    from benchbench.store import StageFolder

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "benchbench"),
        name=stage.label,
        group=stage.kind,
        config={"key": stage.key, "spec": contents_only(stage.spec.as_json())},  # hashes of files, and no paths
        dir=os.environ.get("WANDB_DIR", os.getcwd()),
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=wandb.Settings(silent=True, console="off"),
    )
    for row in StageFolder(folder).read_curve():
        run.log(row)
    run.summary.update({name: value for name, value in record.metrics if isinstance(value, int | float)})
    run.summary["device_hours"] = record.cost.device_hours
    run.finish()
