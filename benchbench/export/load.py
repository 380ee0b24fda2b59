"""Loading a network that a suite has trained."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch

from benchbench.errors import StoreError
from benchbench.losses.multi_teacher import add_student_heads
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plan.keys import unwrap
from benchbench.plugins import load_plugins
from benchbench.store import StageFolder, read_json


def load_trained(folder: str | Path, plugins: tuple[Path, ...] = ()) -> tuple[Backbone, tuple[str, ...]]:
    """A student or an adapted teacher out of its stage folder, in eval mode on the CPU, and its class names.

    Args:
        folder: `runs/cell/KEY` or `runs/teacher/KEY`.
        plugins: plugin files, where its model comes from one, or a loss that gave it another head.

    Raises:
        StoreError: the stage is not finished, or its weights are damaged.
    """
    stage = StageFolder(Path(folder))
    record = stage.done()
    if record is None or record.get("weights_sha256") is None:
        raise StoreError(f"{folder} holds no finished training; give a folder like runs/cell/KEY")
    job = unwrap(read_json(stage.spec)["job"])
    classes = tuple(record["data"]["names"])
    registry = load_plugins(plugins).registry
    # The trained weights replace whatever the run started from, which need not be here any more.
    model = build_backbone({**job["model"], "weights": None}, job["model_kind"], registry, len(classes))
    # A loss leaves a trace in the student only where it gives it a head.
    known = [entry for entry in job["loss"] if entry["name"] in registry.offers["loss"]]
    add_student_heads(model, known, registry, [teacher["dim"] for teacher in record["teachers"]])
    try:
        model.load_state_dict(safetensors.torch.load_file(stage.verified_weights()))
    except RuntimeError:
        unknown = ", ".join(entry["name"] for entry in job["loss"] if entry not in known)
        if not unknown:
            raise
        raise StoreError(
            f"{folder} was trained with a loss that no plugin offers here ({unknown}); name its plugin"
        ) from None
    return model.eval(), classes
