"""Kinds of stages: each a module with `run(context) -> StageResult`, imported by the worker that runs one."""

RUNNERS = {
    "pretraining": "benchbench.stages.train",
    "teacher": "benchbench.stages.train",
    "cell": "benchbench.stages.train",
    "outputs": "benchbench.stages.outputs",
    "tuning": "benchbench.stages.tuning",
    "calibration": "benchbench.stages.calibrate",
    "diffusion": "benchbench.stages.diffusion",
    "synthesis": "benchbench.stages.synthesis",
    "quality": "benchbench.stages.quality",
}
