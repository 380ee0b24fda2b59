"""Every stage that finishes becomes a Weights & Biases run: its job, its curve, its figures and its hours.

Offline unless WANDB_MODE says otherwise: nothing leaves the machine before `wandb sync`.
"""

import os

from benchbench import hookimpl


@hookimpl
def benchbench_stage_finished(stage, record, folder):
    import wandb

    from benchbench.plan.keys import identity
    from benchbench.store import StageFolder

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "benchbench"),
        name=stage.label,
        group=stage.kind,
        config={"key": stage.key, "job": identity(stage.job)},
        dir=os.environ.get("WANDB_DIR", os.getcwd()),
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=wandb.Settings(silent=True, console="off"),
    )
    for row in StageFolder(folder).read_curve():
        run.log(row)
    run.summary.update({name: value for name, value in record["metrics"].items() if isinstance(value, int | float)})
    run.summary["device_hours"] = record["cost"]["device_hours"]
    run.finish()
