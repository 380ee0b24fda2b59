"""An MLflow run for every stage that finishes: its recipe, its curve, its metrics and its hours."""

import os
import time

from benchbench import hookimpl

BATCH = 1000  # most metrics of one call of MLflow


@hookimpl
def benchbench_stage_finished(stage, record, folder):
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    from benchbench.store import StageFolder

    client = MlflowClient()  # MLFLOW_TRACKING_URI, or MLflow's own default: a database file in the current folder
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "benchbench")
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(
        experiment_id, run_name=stage.label, tags={"kind": stage.kind, "key": stage.key}
    ).info.run_id
    now = int(1000 * time.time())
    curve = StageFolder(folder).read_curve()
    metrics = [
        Metric(term, value, now, row["epoch"]) for row in curve for term, value in row.items() if term != "epoch"
    ]
    results = {name: value for name, value in record.metrics if isinstance(value, int | float)}
    results["device_hours"] = record.cost.device_hours
    metrics += [Metric(name, value, now, 0) for name, value in results.items()]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics[start : start + BATCH])
    spec = stage.spec.as_json()
    settings = {name: spec[name] for name in ("method", "seed") if name in spec} | spec.get("recipe", {})
    client.log_batch(run, params=[Param(name, str(value)) for name, value in settings.items()])
    client.set_terminated(run)
