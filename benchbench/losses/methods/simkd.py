"""SimKD: the teacher's classifier, behind a projector of the student's embedding or last map to the teacher's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import SimKDParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import map_reader, require_pooled, same_size
from benchbench.losses.methods.embedding_mse import embedding_error
from benchbench.losses.projectors import hidden_block
from benchbench.models.backbone import MapHead
from benchbench.models.outputs import Outputs


class ReusedHead(nn.Module):
    """The student's classifier: embedding [B, D_s] -> projector [B, D_t] -> the teacher's classifier [B, classes].

    The projector is Linear to D_t / r, BN, ReLU, Linear, BN, ReLU, Linear to D_t, BN, and ReLU where `relu`.
    """

    def __init__(self, student_dim: int, teacher_dim: int, classes: int, factor: int = 2, relu: bool = True):
        super().__init__()
        self.projector = self.build(student_dim, max(1, teacher_dim // factor), teacher_dim, relu)
        self.classifier = nn.Linear(teacher_dim, classes)

    @staticmethod
    def build(width_in: int, hidden: int, width_out: int, relu: bool) -> nn.Sequential:
        """The projector."""
        last = hidden_block(hidden, width_out)
        layers = [*hidden_block(width_in, hidden), *hidden_block(hidden, hidden), *(last if relu else last[:-1])]
        return nn.Sequential(*layers)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.classifier(self.projector(embedding))

    @torch.no_grad()
    def reuse(self, classifier: nn.Linear) -> None:
        """Copies the teacher's classifier and freezes the copy."""
        self.classifier.weight.copy_(classifier.weight)
        self.classifier.bias.copy_(classifier.bias if classifier.bias is not None else torch.zeros(()))
        self.classifier.requires_grad_(False)


class ReusedMapHead(ReusedHead, MapHead):
    """The same of the last map [B, D_s, H, W]: the teacher's classifier reads the mean over the projector's positions.

    The projector has convolutions of 1x1, 3x3 and 1x1 without bias in place of linear layers.
    """

    @staticmethod
    def build(width_in: int, hidden: int, width_out: int, relu: bool) -> nn.Sequential:
        first, second = connector(width_in, hidden, relu=True), connector(hidden, hidden, 3, relu=True)
        return nn.Sequential(*first, *second, *connector(hidden, width_out, relu=relu))

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.projector(features).mean((2, 3)))


class SimKD(Loss):
    """Term `simkd`: `embedding_error` of the student's embedding after the head's projector, and the teacher's.

    The student's classifier is a `ReusedHead`, which trains with the student; the teacher's part of it is frozen. The
    paper trains on this term alone; other losses on the logits reach the projector through the frozen classifier.

    With `maps`, a `ReusedMapHead` projects the last map, and the term is the mean squared error of that map and the
    teacher's last one, the larger averaged down to the other's size. Both maps must be as wide as the embeddings, and
    the mean of the teacher's map must be its embedding, which its classifier reads.

    Source: Chen et al. 2022, "Knowledge Distillation with the Reused Teacher Classifier" (arXiv 2203.14001), section 3,
    which is the form with `maps`; where the student's map is the larger one, the official code averages it before the
    projector, here after it. By default an MLP of the same depth takes the pooled embedding, so that any network can
    take part. The last ReLU suits embeddings pooled after one; the negative entries of a transformer's need
    `relu: false`.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SimKDParams(**params)
        if not isinstance(context.teacher_head, nn.Linear):
            raise StageError("loss 'simkd' needs a teacher with a linear task head; adapt the teacher to the task")
        if not isinstance(context.student_head, ReusedMapHead if self.params.maps else ReusedHead):
            raise StageError("loss 'simkd' needs the student's head to be the one that its `make_head` builds")
        if self.params.maps:
            map_reader("simkd", "teacher", context.teacher_head, context.teacher_features[-1][0])
            require_pooled("simkd", "teacher", context, instead="it without `maps`")
            if (channels := context.student_features[-1][0]) != context.student_dim:
                raise StageError(
                    f"loss 'simkd' with `maps` needs a last map that is pooled into the embedding, and of this student "
                    f"they have {channels} and {context.student_dim} channels; take another student"
                )
        context.student_head.reuse(context.teacher_head)
        # In a tuple it stays out of this loss's parameters and state: it is trained and saved as a part of the student.
        self.head = (context.student_head,)

    @staticmethod
    def make_head(student_dim: int, teacher_dim: int, classes: int, **params: Any) -> ReusedHead:
        """The head that takes the place of the student's own."""
        own = SimKDParams(**params)
        kind = ReusedMapHead if own.maps else ReusedHead
        return kind(student_dim, teacher_dim, classes, own.factor, own.relu)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        projector = self.head[0].projector
        # The student's own pass has counted this batch in the running statistics: a second time it goes to copies.
        copies = {name: buffer.clone() for name, buffer in projector.named_buffers()}
        value, target = student.embedding, teacher.embedding
        if self.params.maps:
            value, target = student.features[-1], teacher.features[-1]
        projected = functional_call(projector, copies, (value,))
        return {"simkd": embedding_error(*(same_size(projected, target) if self.params.maps else (projected, target)))}
