"""One-for-all distillation: every depth of the student predicts the teacher's classes, whatever the architectures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext, Shape
from benchbench.losses.catalog.features import OFAParams
from benchbench.losses.connectors import BatchNorm2d
from benchbench.losses.embeddings import teacher_width
from benchbench.losses.logits import both_logits
from benchbench.losses.maps import depths
from benchbench.models.outputs import Outputs

MOST = 4  # branches: the official code's stages


def enhanced_target(s: Tensor, t: Tensor, labels: Tensor, gamma: float = 1.0, temperature: float = 1.0) -> Tensor:
    """-1/B sum_i sum_c ((p_t(c) + [c = y_i])^gamma - [c = y_i]) log p_s(c), with p = softmax(z / T).

    At gamma = 1 it is the soft cross-entropy. A larger gamma raises the target's share where the teacher is sure.

    Source: Hao et al. 2023, "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation"
    (arXiv 2310.19444), section 3.3. The power on the whole distribution, and the whole target's subtraction, are the
    official code's.

    Args:
        s, t: logits of student and teacher [B, C].
        labels: y [B].
        gamma: power, at least 1.
        temperature: T > 0.
    """
    target = F.one_hot(labels, s.shape[1])
    weights = (F.softmax(t / temperature, dim=1) + target) ** gamma - target
    return -(weights * F.log_softmax(s / temperature, dim=1)).sum(dim=1).mean()


class Halving(nn.Sequential):
    """Two separable convolutions with BN and ReLU, [B, c_in, H, W] -> [B, c_out, ceil(H / 2), ceil(W / 2)]."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        for channels, stride in ((c_in, 2), (c_out, 1)):
            self.append(nn.Conv2d(c_in, c_in, 3, stride, padding=1, groups=c_in, bias=False))
            self.append(nn.Conv2d(c_in, channels, 1, bias=False))
            self.append(BatchNorm2d(channels))
            self.append(nn.ReLU())


class Branch(nn.Sequential):
    """A map of the student [B, C_s, H, W] -> logits [B, classes], by `halvings` of its size and a mean over positions.

    Without a halving a 1x1 convolution stands there. The channels double with each, and end at `width`.
    """

    def __init__(self, shape: Shape, width: int, classes: int, halvings: int):
        super().__init__()
        channels = shape[0]
        for left in range(halvings, 0, -1):
            self.append(Halving(channels, width if left == 1 else 2 * channels))
            channels *= 2
        if not halvings:
            self.append(nn.Conv2d(channels, width, 1))
        self.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


class OFA(Loss):
    """Terms `logits`: `enhanced_target` of the student's own logits; `branches`: the sum of that of each branch.

    A branch reads one of up to four maps at equal steps of depth, and trains with the student.

    Source: as `enhanced_target`; the branches and their start are the official code's for CNNs. A transformer's maps go
    through the same convolutions here, where the official code merges patches and adds blocks of attention.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = OFAParams(**params)
        count = len(context.student_features)
        self.maps = depths(count, min(count, MOST))
        width = max(context.student_dim, teacher_width(context))
        self.branches = nn.ModuleList(
            Branch(context.student_features[index], width, context.classes, halvings)
            for halvings, index in enumerate(reversed(self.maps))
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher)
        options = batch.labels, self.params.gamma, self.params.temperature
        predictions = [
            branch(student.features[index]) for branch, index in zip(self.branches, reversed(self.maps), strict=True)
        ]
        branches = torch.stack([enhanced_target(z, t, *options) for z in predictions])
        return {"logits": enhanced_target(s, t, *options), "branches": branches.sum()}
