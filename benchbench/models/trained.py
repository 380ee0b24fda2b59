"""Loading a network that a suite has trained."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch

from benchbench.errors import StoreError
from benchbench.losses.teachers import fit_student
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plugins import load_plugins
from benchbench.resolve import unwrap
from benchbench.store import StageFolder, read_json


def load_trained(folder: str | Path, plugins: tuple[Path, ...] = ()) -> tuple[Backbone, tuple[str, ...]]:
    """A student or an adapted teacher out of its stage folder, in eval mode on the CPU, and its class names.

    Args:
        folder: `runs/cell/KEY` or `runs/teacher/KEY`.
        plugins: plugin files, where its model or a loss that trained it comes from one.

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
    fit_student(model, job["loss"], registry, [teacher["dim"] for teacher in record["teachers"]])
    model.load_state_dict(safetensors.torch.load_file(stage.verified_weights()))
    return model.eval(), classes
