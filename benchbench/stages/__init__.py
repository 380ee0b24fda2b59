"""Kinds of stages: each a module with `run(context) -> record`, imported by the worker that runs one."""

RUNNERS = {
    "teacher": "benchbench.stages.train",
    "cell": "benchbench.stages.train",
    "calibration": "benchbench.stages.calibrate",
}
