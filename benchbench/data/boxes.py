"""Boxes of images as rows of numbers, for batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchbench.data.images import ImageSubset

# A row of a batch's boxes that is none: its class.
NO_BOX = -1


def boxes_of(subset: ImageSubset, device: torch.device) -> Tensor | None:
    """The boxes of a split's images [N, M, 6], as those of a `Batch`; None where they have none."""
    read = subset.images.boxes
    if read is None:
        return None
    each = [read(int(index)) for index in subset.indices]
    rows = torch.zeros(len(each), max(1, max((len(boxes.classes) for boxes in each), default=0)), 6)
    rows[..., 4] = NO_BOX
    for row, boxes in zip(rows, each, strict=True):
        columns = (boxes.corners, boxes.classes[:, None], boxes.ignored[:, None])
        row[: len(boxes.classes)] = torch.from_numpy(np.concatenate(columns, 1, dtype=np.float32, casting="unsafe"))
    return rows.to(device)
