"""Helpers of tests of plans: a suite with every method, a plugin of one loss, and keys to compare plans by."""

from __future__ import annotations

from benchbench.planning.model import Plan

WEIGHTS = {"file": "weights.bin"}
FULL = {
    "students": {
        "small": {
            "model": "timm/test_efficientnet",
            "weights": WEIGHTS,
            "pretraining": {"images": 1000, "epochs": 10, "image_size": 32, "source": "a paper"},
        }
    },
    "teachers": {
        "big": {
            "model": "timm/test_resnet",
            "weights": WEIGHTS,
            "adapt": {"linear_probe": {"epochs": 2}, "pretrained": {}},
        }
    },
    "recipes": {
        "default": {"epochs": 1, "batch_size": 20, "image_size": 32, "precision": "exact", "augment": {"flip": {}}}
    },
    "arms": {
        "scratch": {"method": "scratch"},
        "probe": {"method": "linear_probe"},
        "tune": {"method": "finetune"},
        "distil": {"method": "distill", "adapt": "linear_probe", "loss": {"ce": 1, "kd": {"temperature": 3}}},
        "align": {"method": "distill", "loss": {"ce": 1, "align_uniform": 2}},
    },
}
LOSS_PLUGIN = """
from benchbench import Component, Params, hookimpl

class MineParams(Params):
    scale: float = 1.0

@hookimpl
def benchbench_losses():
    yield Component("mine", __name__ + ":loss", MineParams, needs=frozenset({"teacher"}))

def loss(student, teacher, batch, scale):
    return scale * 1
"""


def keys(plan: Plan, kinds: tuple[str, ...] = ("cell", "teacher")) -> list[str]:
    """Keys in the plan's order; without calibrations, whose result is about a device."""
    return [stage.key for stage in plan.stages.values() if stage.kind in kinds]


def by_arm(plan: Plan) -> dict[str, list[str]]:
    """Keys of the cells of each row of the tables."""
    return {row: [c.stage for c in plan.cells if c.row == row] for row in dict.fromkeys(c.row for c in plan.cells)}
