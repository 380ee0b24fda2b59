"""Factor transfer: a paraphraser condenses the teacher's map, and the student's translator aims at the result."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import FTParams
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs

SLOPE = 0.1  # of every leaky ReLU


def factor_gap(f_student: Tensor, f_teacher: Tensor) -> Tensor:
    """1/(B N) sum_b || f_s / ||f_s|| - f_t / ||f_t|| ||_1, each factor a vector of N entries.

    The larger factor is averaged down to the other's size first.

    Source: Kim, Park and Kwak 2018, "Paraphrasing Complex Network: Network Compression via Factor Transfer" (arXiv
    1802.04977), section 3, with p = 1; the mean over entries is the official code's, where it has the weight 500.
    RepDistiller compares the mean squares of a factor's channels instead, and has 200.

    Args:
        f_student, f_teacher: factors [B, M, H_s, W_s] and [B, M, H_t, W_t].
    """
    s, t = same_size(f_student, f_teacher)
    return F.l1_loss(unit(s.flatten(1)), unit(t.flatten(1)))


def convolutions(layer: type[nn.Conv2d] | type[nn.ConvTranspose2d], *channels: int) -> nn.Sequential:
    """3x3 convolutions from one number of channels to the next, each with a leaky ReLU; maps keep their size."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(channels):
        layers += [layer(c_in, c_out, 3, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class FT(Loss):
    """Term `ft`: `factor_gap` of translated student and paraphrased teacher; in the first stage, the reconstruction.

    The paraphraser is an autoencoder of the teacher's last map, three convolutions and three transposed ones; its code,
    of `rate` times the teacher's channels, is the factor. The first stage trains it, on the mean squared error, and it
    stays as it is from then on. The translator, three convolutions of the student's last map, trains with the student.

    Source: as there, sections 3.1 and 3.2. The official code has the mean absolute error in the first stage, which is
    5 or 6 epochs before 163 there, and 30 before 240 in RepDistiller, at a fifth of the rate; neither has BN in the
    paraphraser, and the official code none in the translator.
    """

    prepares = "parts"

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = FTParams(**params)
        self.preparation, self.preparation_rate = self.params.preparation, self.params.preparation_rate
        self.pairs = paired(context, most=1)
        s, t = self.pairs[0]
        c_s, c_t = context.student_features[s][0], context.teacher_features[t][0]
        factor = max(1, round(self.params.rate * c_t))
        self.encoder = convolutions(nn.Conv2d, c_t, c_t, factor, factor)
        self.decoder = convolutions(nn.ConvTranspose2d, factor, factor, c_t, c_t)
        self.translator = convolutions(nn.Conv2d, c_s, c_s, factor, factor)

    def prepare(self, student: Outputs | None, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        t = teacher.features[self.pairs[0][1]]
        return {"ft": F.mse_loss(self.decoder(self.encoder(t)), t)}

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((s, t),) = both_maps(student, teacher, self.pairs)
        with torch.no_grad():  # the paraphraser trains in the first stage alone
            factor = self.encoder(t)
        return {"ft": factor_gap(self.translator(s), factor)}
