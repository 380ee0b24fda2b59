"""FitNets: the student's middle map predicts the teacher's."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.losses.base import LossContext
from benchbench.losses.catalog.features import FitNetsParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import both_maps, paired, resized
from benchbench.losses.two_stage import StudentFirst
from benchbench.models.outputs import Outputs


def hint_error(regressed: Tensor, hint: Tensor) -> Tensor:
    """1/(B C H W) sum (r(v) - u)^2.

    Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets" (arXiv 1412.6550), Eq. 3, which is half the sum over
    a sample's entries. The mean is that of RepDistiller and mdistiller, where it has the weight 100.

    Args:
        regressed: r(v), the student's guided map through the regressor [B, C, H, W].
        hint: u, the teacher's map [B, C, H, W].
    """
    return F.mse_loss(regressed, hint)


class FitNets(StudentFirst):
    """Term `fitnets`: `hint_error` of the maps at half the depth of both networks.

    The regressor r is a 1x1 convolution with BN, as in RepDistiller and mdistiller for maps of equal size. Other sizes,
    which those bridge by larger kernels or strides, are resized to the teacher's beforehand. The paper takes the
    same non-linearity in r as in the teacher's map, and those two end r in a ReLU; `relu` is for teachers whose map
    follows one. By default r is linear, since then it reaches the map of any teacher.

    In the paper the hint is a first stage, and the teacher's softened logits train the student afterwards. That is
    `preparation` above 0. By default the hint joins the training instead, as in RepDistiller and mdistiller, where most
    of the published results come from.

    Source: as there, section 2.2.
    """

    name = "fitnets"
    params: FitNetsParams

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context, FitNetsParams(**params))
        self.pairs = paired(context, most=2)[:1]
        s, t = self.pairs[0]
        widths = context.student_features[s][0], context.teacher_features[t][0]
        self.regressor = connector(*widths, relu=self.params.relu)

    def hint(self, student: Outputs, teacher: Outputs) -> Tensor:
        ((guided, target),) = both_maps(student, teacher, self.pairs)
        return hint_error(self.regressor(resized(guided, (target.shape[2], target.shape[3]))), target)
