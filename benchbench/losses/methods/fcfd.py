"""Function-consistent feature distillation: maps of one network are judged by what the other makes of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext, Rest, Shape
from benchbench.losses.catalog.features import FCFDParams
from benchbench.losses.connectors import BatchNorm2d
from benchbench.losses.logits import task_logits
from benchbench.losses.maps import paired, resized
from benchbench.losses.methods.kd import distillation_kl
from benchbench.models.outputs import Outputs

LEAK = 0.1  # the official code's


class Bridge(nn.Module):
    """A 3x3 convolution and BN from a map of one network to the form of a map of the other, [B, C, H, W] each.

    The convolution has stride 2 where the size halves, and is a transposed one of 4x4 where it doubles; between other
    sizes the map is averaged or repeated first. With `relu` a leaky ReLU follows, for maps that come after a ReLU.
    """

    def __init__(self, given: Shape, wanted: Shape, relu: bool):
        super().__init__()
        (c_in, side, _), (c_out, *size) = given, wanted
        self.size: tuple[int, int] | None = None
        self.convolution: nn.Conv2d | nn.ConvTranspose2d
        if side == 2 * size[0]:
            self.convolution = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
        elif 2 * side == size[0]:
            self.convolution = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)
        else:
            self.size = (size[0], size[1])
            self.convolution = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        if isinstance(self.convolution, nn.Conv2d):
            nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.norm, self.slope = BatchNorm2d(c_out), LEAK if relu else 1.0

    def forward(self, x: Tensor) -> Tensor:
        x = resized(x, self.size) if self.size else x
        return F.leaky_relu(self.norm(self.convolution(x)), self.slope)


def _rest(side: str, rest: Rest | None) -> Rest:
    if rest is None:
        raise StageError(
            f"loss 'fcfd' runs both networks from their maps on, which this {side} cannot; take a {side} of cifar/, or "
            "a ResNet of timm"
        )
    return rest


def pooled_gap(f: Tensor, f_teacher: Tensor) -> Tensor:
    """MSE(f, F^t) + MSE(mean of relu(f), mean of relu(F^t)), means over positions, of last maps [B, C, H, W]."""
    mean, mean_teacher = (each.relu().mean((2, 3)) for each in (f, f_teacher))
    return F.mse_loss(f, f_teacher) + F.mse_loss(mean, mean_teacher)


class FCFD(Loss):
    """Terms `features`: alpha w sum_l gap(f, F^t_l); `logits`: the sum over paths of T^2 KL(p^t || p of the path).

    A path leads through one network up to a map, over a bridge, and through the rest of the other. Every step draws
    `paths` of them, of both directions and all pairs of maps but the last. The maps f that are compared with the
    teacher's F^t_l are the student's, bridged at every depth l, and those that the teacher gives behind a bridge; gap
    is the MSE, of last maps `pooled_gap`; w = min(epoch / warmup_epochs, 1). Bridges train with the student, and so do
    the student's layers behind a bridge. Batch normalisation there takes the batch's statistics and keeps none.

    The paper's objective has the student's own logits too: KD with T = 4 at weight 1, and cross-entropy at weight 1.

    Source: Liu et al. 2023, "Function-Consistent Feature Distillation" (ICLR 2023), section 3, and the official
    code. The code runs the teacher in training mode; here it has its own statistics, as everywhere. It takes
    maps before the ReLU of VGG, MobileNetV2 and ShuffleNetV1, here as the networks give them; it counts whole epochs,
    here warm-up is a ramp.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = FCFDParams(**params)
        rests = (_rest("student", context.student_rest), _rest("teacher", context.teacher_rest))
        self.pairs = paired(context)
        if len(self.pairs) < 2:
            raise StageError("loss 'fcfd' needs networks with two maps or more; take larger images or other networks")
        # In a tuple, networks stay out of this loss's parameters and state.
        self.rests = rests
        shapes = [(context.student_features[s], context.teacher_features[t]) for s, t in self.pairs]
        relu, depths = self.params.relu, range(len(self.pairs) - 1)
        self.to_teacher = nn.ModuleList(Bridge(s, t, relu) for s, t in shapes)
        self.to_student = nn.ModuleList(Bridge(t, s, relu) for s, t in shapes[:-1])
        self.paths = [(through_teacher, depth) for through_teacher in (True, False) for depth in depths]

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        epoch = batch.epoch  # read without warm-up too: a step whose paths are drawn here must be no CUDA graph
        warmup = min(epoch / self.params.warmup_epochs, 1.0) if self.params.warmup_epochs else 1.0
        targets = [teacher.features[t] for _, t in self.pairs]
        bridged = [bridge(student.features[s]) for bridge, (s, _) in zip(self.to_teacher, self.pairs, strict=True)]
        compared, divergences = list(enumerate(bridged)), []
        for index in torch.randperm(len(self.paths))[: self.params.paths].tolist():
            through_teacher, depth = self.paths[index]
            if through_teacher:
                logits, maps = self._through_teacher(depth, bridged[depth])
                compared += maps
            else:
                logits = self._through_student(depth, targets[depth])
            divergences.append(distillation_kl(logits, task_logits(teacher), self.params.temperature))
        gaps = [self._gap(depth, f, targets[depth]) for depth, f in compared]
        features = self.params.alpha * warmup * torch.stack(gaps).sum()
        return {"features": features, "logits": torch.stack(divergences).sum()}

    def _through_teacher(self, depth: int, bridged: Tensor) -> tuple[Tensor, list[tuple[int, Tensor]]]:
        """The student up to a depth, then the teacher: logits [B, C], and its later maps by their depth."""
        start = self.pairs[depth][1]
        outputs = self.rests[1](start, bridged)
        later = [(each, outputs.features[t - start - 1]) for each, (_, t) in enumerate(self.pairs) if each > depth]
        return task_logits(outputs), later

    def _through_student(self, depth: int, target: Tensor) -> Tensor:
        """The teacher up to a depth, then the student: logits [B, C]."""
        return task_logits(self.rests[0](self.pairs[depth][0], self.to_student[depth](target)))

    def _gap(self, depth: int, f: Tensor, target: Tensor) -> Tensor:
        return pooled_gap(f, target) if depth == len(self.pairs) - 1 else F.mse_loss(f, target)
