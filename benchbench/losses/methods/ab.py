"""Distillation of activation boundaries: a neuron fires in the student where it fires in the teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchbench.losses.base import LossContext
from benchbench.losses.catalog.features import ABParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import both_maps, paired, resized
from benchbench.losses.two_stage import StudentFirst
from benchbench.models.outputs import Outputs

SCALE = 3 / 1000  # the official code's, on CIFAR-10; RepDistiller's too


def boundary_hinge(response: Tensor, target: Tensor, margin: float = 1.0) -> Tensor:
    """1/B sum over all entries of max(0, margin - s)^2 where t > 0, and of max(0, margin + s)^2 where t <= 0.

    Source: Heo et al. 2019, "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons"
    (arXiv 1811.03233): the alternative loss with the connector.

    Args:
        response: s, the student's connected map before any ReLU [B, C, H, W].
        target: t, the teacher's map [B, C, H, W]; only its signs count.
        margin: above 0.
    """
    side = torch.where(target > 0, 1.0, -1.0)
    return (margin - side * response).relu().square().sum() / len(response)


class AB(StudentFirst):
    """Term `ab`: 3/1000 sum_i 2^(i - n + 1) `boundary_hinge`_i over the n paired maps, i = 0 being the shallowest.

    The student's map is resized to the teacher's size, then a connector follows: a 1x1 convolution with BN, here also
    where the widths agree, since a map behind a ReLU does not reach below 0. The teacher's boundaries are those of its
    ReLUs, and its maps can be taken before or after them; in a network without, they are where a channel changes sign.

    In the paper this is a first stage, and the task (in the official code, softened logits) trains the student
    afterwards; so it is here, for `preparation` of the epochs, unless that is 0. RepDistiller does so for 30 epochs
    before 240. The sum over entries grows with the maps, as in the official code: large images take smaller weights.

    Source: as there; weights and scale are the official code's, and so is the connector's normal initialisation.
    """

    name = "ab"
    params: ABParams

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context, ABParams(**params))
        self.pairs = paired(context)
        widths = [(context.student_features[s][0], context.teacher_features[t][0]) for s, t in self.pairs]
        self.connectors = nn.ModuleList(connector(*pair) for pair in widths)
        for convolution in (each for each in self.connectors.modules() if isinstance(each, nn.Conv2d)):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out")

    def hint(self, student: Outputs, teacher: Outputs) -> Tensor:
        maps = both_maps(student, teacher, self.pairs)
        hinges = []
        for i, (connect, (s, t)) in enumerate(zip(self.connectors, maps, strict=True)):
            response = connect(resized(s, (t.shape[2], t.shape[3])))
            hinges.append(2.0 ** (i - len(maps) + 1) * boundary_hinge(response, t, self.params.margin))
        return SCALE * torch.stack(hinges).sum()
