"""The head of a frozen network, on cached embeddings of its trunk."""

from __future__ import annotations

from torch import Tensor, nn

from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.outputs import Outputs


class Probe(Backbone):
    """Called like the network whose head it shares, on the trunk's embeddings [B, D] instead of images."""

    def __init__(self, whole: Backbone):
        super().__init__(Trunk(nn.Identity(), whole.dim, (0.0,) * 3, (1.0,) * 3, licence=whole.licence), None)
        self.head, self.classes = whole.head, whole.classes

    def forward(self, images: Tensor, features: bool = False) -> Outputs:
        return Outputs(self.head(images) if self.head is not None else None, images)
