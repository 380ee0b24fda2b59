"""Loading a network that a suite has trained."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch

from benchbench.errors import StoreError
from benchbench.losses.multi_teacher import add_student_heads
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.store import StageFolder


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
    if not isinstance(record, TrainingRecord) or record.weights_sha256 is None:
        raise StoreError(f"{folder} holds no finished training; give a folder like runs/cell/KEY")
    spec = stage.read_spec()
    assert isinstance(spec, TrainingSpec)
    classes = record.data.names
    registry = load_plugins(plugins).registry
    # The trained weights replace those that the run started from, which need not be here any more.
    model = build_backbone(spec.model.without_weights(), spec.role, registry, len(classes))
    # A loss changes the student only where it gives it a head.
    known = [loss for loss in spec.loss if loss.name in registry.offers["loss"]]
    add_student_heads(model, known, registry, [teacher.dim for teacher in record.teachers])
    try:
        model.load_state_dict(safetensors.torch.load_file(stage.verified_weights()))
    except RuntimeError:
        unknown = ", ".join(loss.name for loss in spec.loss if loss not in known)
        if not unknown:
            raise
        raise StoreError(
            f"{folder} was trained with a loss that no plugin offers here ({unknown}); name its plugin"
        ) from None
    return model.eval(), classes
