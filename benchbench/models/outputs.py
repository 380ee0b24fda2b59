"""Outputs of every model, whatever library it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Outputs:
    """One forward pass of a teacher or a student on a batch of B images.

    Attributes:
        logits: task logits [B, classes], of a segmentation [B, classes, h, w]: a class for each part of the image; None
            where the model has no task head (a teacher as it was pre-trained).
        embedding: the backbone's pooled penultimate output [B, D].
        features: the maps between stages, shallow to deep, [B, C, H, W] each, tokens of a transformer as maps; the last
            is what the embedding is pooled from, where the network has such a map. Empty unless a loss asks for them.
        token_logits: of the head on the distillation token [B, classes]; None unless a loss asks for it and the
            network has such a token.
    """

    logits: Tensor | None
    embedding: Tensor
    features: list[Tensor] = field(default_factory=list)
    token_logits: Tensor | None = None

    def part(self, chosen: Tensor | slice) -> Outputs:
        """The outputs of the images at some indices [K], or of every so many."""
        logits, token = (None if each is None else each[chosen] for each in (self.logits, self.token_logits))
        return Outputs(logits, self.embedding[chosen], [each[chosen] for each in self.features], token)
