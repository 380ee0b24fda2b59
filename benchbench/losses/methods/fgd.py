"""Focal and global distillation: maps inside of boxes and around them, their attention, and context of the image."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.boxes import FGDParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import Pair, same_size
from benchbench.models.detection import DetectionHead
from benchbench.models.outputs import Outputs


def region_scales(boxes: Tensor, pixels: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Scales of positions inside of boxes, and of the background: [B, H, W] each, 0 elsewhere.

    Inside, 1 / (H_r W_r) with the positions that the box covers, in whole or in part; of several boxes the smallest
    one's. In the background, 1 / N with the number N of its positions.

    Args:
        boxes: of the images [B, M, 6], as those of a `Batch`; ignored ones are background.
        pixels: height and width of the images.
        size: H, W of the map.
    """
    left, top, right, bottom = boxes[..., :4].unbind(-1)
    rows = _covered(top, bottom, pixels[0], size[0])
    columns = _covered(left, right, pixels[1], size[1])
    there = (boxes[..., 4] >= 0) & (boxes[..., 5] == 0)
    inverse = there.to(boxes.dtype) / (rows.sum(2) * columns.sum(2)).clamp_min(1)
    inside = rows.unsqueeze(3) & columns.unsqueeze(2)
    foreground = (inside * inverse[..., None, None]).amax(1)
    background = (foreground == 0).to(foreground.dtype)
    return foreground, background / background.sum((1, 2), keepdim=True).clamp_min(1)


def _covered(start: Tensor, end: Tensor, pixels: int, count: int) -> Tensor:
    """Of `count` positions along a side, those from `start` to `end` [B, M] in pixels: truth values [B, M, count]."""
    place = torch.arange(count, device=start.device)
    first, last = (start * count / pixels).floor(), (end * count / pixels).ceil()
    return (place >= first.unsqueeze(2)) & (place < last.unsqueeze(2))


def attentions(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A^S = H W softmax(mean_c |F_c| / T) [B, H, W], and A^C = C softmax(mean_p |F_p| / T) [B, C], of [B, C, H, W]."""
    sizes = features.abs()
    channels, height, width = sizes.shape[1:]
    spatial = height * width * F.softmax(sizes.mean(1).flatten(1) / temperature, dim=1)
    return spatial.view(-1, height, width), channels * F.softmax(sizes.mean((2, 3)) / temperature, dim=1)


def focal_gaps(
    f_student: Tensor, f_teacher: Tensor, scales: tuple[Tensor, Tensor], temperature: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """The focal part: inside of boxes, in the background, and of the attentions; sums over the map, by image.

    1/B sum_bcp M_bp A^S_bp A^C_bc (F^t_bcp - F^s_bcp)^2 for either scale M, with the teacher's attentions, and
    1/B (sum_bp |A^S,t - A^S,s| + sum_bc |A^C,t - A^C,s|).

    Source: Yang et al. 2022, "Focal and Global Knowledge Distillation for Detectors" (arXiv 2111.11837), section 3.1.
    Their code has a box cover one row and one column more, to the right and below, and counts them in H_r and W_r.

    Args:
        f_student, f_teacher: maps [B, C, H, W] of one shape.
        scales: of `region_scales`.
        temperature: T.
    """
    (spatial_s, channels_s), (spatial_t, channels_t) = (attentions(f, temperature) for f in (f_student, f_teacher))
    gaps = spatial_t * (channels_t[..., None, None] * (f_teacher - f_student).square()).sum(1)
    inside, outside = ((scale * gaps).sum() / len(gaps) for scale in scales)
    attention = (spatial_t - spatial_s).abs().sum() + (channels_t - channels_s).abs().sum()
    return inside, outside, attention / len(gaps)


class GlobalContext(nn.Module):
    """R(F) = F + W_2 ReLU(LN(W_1 sum_p a_p F_p)), a = softmax(W_k F) over the positions p: [B, C, H, W] as F.

    W_2 is 0 at first, and the layer between is half as wide.

    Source: Cao et al. 2019, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond" (arXiv 1904.11492).
    """

    def __init__(self, channels: int):
        super().__init__()
        middle = max(1, channels // 2)
        self.key = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Linear(channels, middle), nn.LayerNorm(middle), nn.ReLU(), nn.Linear(middle, channels)
        )
        nn.init.kaiming_normal_(self.key.weight)
        for name in ("key.bias", "transform.3.weight", "transform.3.bias"):
            nn.init.zeros_(self.get_parameter(name))

    def forward(self, features: Tensor) -> Tensor:
        attention = F.softmax(self.key(features).flatten(1), dim=1)
        context = (features.flatten(2) * attention.unsqueeze(1)).sum(2)
        return features + self.transform(context)[..., None, None]


class FGD(Loss):
    """Terms `foreground`, `background` and `attention` of `focal_gaps`, and `relation`, times their weights, over maps.

    `relation` is 1/B sum_bcp (R^t(F^t) - R^s(F^s))^2, with a `GlobalContext` for each side, which train with the
    student: the paper's global part. The paper compares the levels of feature pyramids. Here it is the maps of the
    student's backbone that its head reads, each with the teacher's last map of the nearest size, the larger one
    averaged down to the other's size. Where they differ in width, a 1x1 convolution, which trains with the student,
    takes the student's map to the teacher's width, as in their code.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = FGDParams(**params)
        self.pairs = _levels(context)
        widths = [(context.student_features[s][0], context.teacher_features[t][0]) for s, t in self.pairs]
        self.connectors = nn.ModuleList(nn.Identity() if s == t else connector(s, t, norm=False) for s, t in widths)
        self.contexts_student, self.contexts_teacher = (
            nn.ModuleList(GlobalContext(channels) for _, channels in widths) for _ in range(2)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        assert batch.boxes is not None
        pixels, values = (batch.images.shape[2], batch.images.shape[3]), []
        parts = zip(self.pairs, self.connectors, self.contexts_student, self.contexts_teacher, strict=True)
        for (s, t), connect, r_student, r_teacher in parts:
            f_student, f_teacher = same_size(student.features[s], teacher.features[t])
            f_student = connect(f_student)
            scales = region_scales(batch.boxes, pixels, (f_student.shape[2], f_student.shape[3]))
            relation = (r_teacher(f_teacher) - r_student(f_student)).square().sum() / len(f_student)
            values.append(torch.stack([*focal_gaps(f_student, f_teacher, scales, self.params.temperature), relation]))
        names = {"foreground": "alpha", "background": "beta", "attention": "gamma", "relation": "relation"}
        sums = torch.stack(values).sum(0)
        return {name: getattr(self.params, weight) * sums[i] for i, (name, weight) in enumerate(names.items())}


def _levels(context: LossContext) -> list[Pair]:
    """Maps of the student that its head reads, each with the teacher's last one of the nearest size."""
    sides, others = ([shape[1] for shape in maps] for maps in (context.student_features, context.teacher_features))
    head, last = context.student_head, {side: place for place, side in enumerate(sides)}
    read = head.places if isinstance(head, DetectionHead) and head.places else sorted(last.values())
    return [(s, min(range(len(others)), key=lambda t: (abs(math.log(others[t] / sides[s])), -t))) for s in read]
