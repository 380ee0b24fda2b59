"""Kinds of stages: each a module with `run(context) -> StageResult`, imported by the worker that runs one."""

from benchbench.specs.stages import StageSpec, TrainingSpec

RUNNERS = {
    "pretraining": "benchbench.stages.train",
    "teacher": "benchbench.stages.train",
    "trial": "benchbench.stages.trial",
    "cell": "benchbench.stages.train",
    "outputs": "benchbench.stages.outputs",
    "tuning": "benchbench.stages.tuning",
    "calibration": "benchbench.stages.calibrate",
    "diffusion": "benchbench.stages.diffusion",
    "synthesis": "benchbench.stages.synthesis",
    "quality": "benchbench.stages.quality",
}
SEARCHED = "benchbench.stages.searched"


def runner_of(spec: StageSpec) -> str:
    """The module that runs a stage."""
    return SEARCHED if isinstance(spec, TrainingSpec) and spec.searched else RUNNERS[spec.kind]
