"""Projectors g: from an embedding of either side to the space that both sides share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.losses.catalog.embeddings import ProjectorKind


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, D] that also takes a batch of one in train mode.

    The variance of one sample is zero, so its own statistics are of no use: such a batch is normalised by the running
    statistics, as in evaluation, and does not update them. The last batch of an epoch can be this small.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def hidden_block(width_in: int, width_out: int) -> list[nn.Module]:
    """Linear, BN, ReLU; the Linear has no bias, since BN would cancel it."""
    return [nn.Linear(width_in, width_out, bias=False), BatchNorm(width_out), nn.ReLU()]


def build_projector(kind: ProjectorKind, width_in: int, width_out: int) -> nn.Sequential:
    """A projector [B, width_in] -> [B, width_out]; its hidden layers are as wide as its input. It does not normalise.

    `linear`: one affine map (Tian et al. 2020, arXiv 1910.10699).
    `mocov2`: Linear, ReLU, Linear (Chen et al. 2020, arXiv 2003.04297).
    `simclr`: hidden block, Linear without bias, BN without scale and shift (Chen et al. 2020, arXiv 2002.05709).
    `simclrv2`: the same with two hidden blocks (Chen et al. 2020, arXiv 2006.10029).

    Source: the four of Farhat and Chen (arXiv 2404.03263), as their public code builds them.
    """
    last = [nn.Linear(width_in, width_out, bias=False), BatchNorm(width_out, affine=False)]
    match kind:
        case "linear":
            return nn.Sequential(nn.Linear(width_in, width_out))
        case "mocov2":
            return nn.Sequential(nn.Linear(width_in, width_in), nn.ReLU(), nn.Linear(width_in, width_out))
        case "simclr":
            return nn.Sequential(*hidden_block(width_in, width_in), *last)
        case "simclrv2":
            return nn.Sequential(*hidden_block(width_in, width_in), *hidden_block(width_in, width_in), *last)
        case _:
            raise ValueError(f"unknown projector '{kind}'")
