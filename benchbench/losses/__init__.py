"""Built-in losses, one method per file; `catalog` lists them. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component, hookimpl
from benchbench.losses.catalog.boxes import BOXES
from benchbench.losses.catalog.embeddings import EMBEDDINGS
from benchbench.losses.catalog.features import FEATURES
from benchbench.losses.catalog.labels import LABELS
from benchbench.losses.catalog.logits import LOGITS


@hookimpl
def benchbench_losses() -> Iterable[Component]:
    """Losses without a teacher, then those on logits, on embeddings, on the maps between stages, and of detections."""
    return [*LABELS, *LOGITS, *EMBEDDINGS, *FEATURES, *BOXES]
