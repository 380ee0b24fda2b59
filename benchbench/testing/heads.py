"""The contract of a segmentation's head: maps of a backbone become logits for every class, and it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.components import Component
from benchbench.errors import StageError
from benchbench.models.segmentation import MapShape
from benchbench.seeds import seed_everything
from benchbench.testing.check import Call, Options, require

SIZE, COUNT, CLASSES = 64, 2, 3
# Maps of a network for large images, of one for small ones, and of a transformer, whose maps have one size.
PYRAMIDS = (
    (MapShape(16, 2), MapShape(24, 4), MapShape(40, 8), MapShape(80, 16), MapShape(160, 32)),
    (MapShape(16, 1), MapShape(32, 2), MapShape(64, 4)),
    (MapShape(48, 16), MapShape(48, 16)),
)


@dataclass(frozen=True)
class HeadCase:
    """A head with parameters."""

    component: Component
    params: Mapping[str, Any] = field(default_factory=dict)

    def build(self, shapes: tuple[MapShape, ...], seed: int = 0) -> nn.Module:
        seed_everything(seed, torch.device("cpu"))
        head: nn.Module = self.component.load()(list(shapes), CLASSES, **self.params)
        return head


def maps_of(shapes: tuple[MapShape, ...], count: int = COUNT) -> list[Tensor]:
    """Maps of these shapes, of images of `SIZE` pixels a side."""
    random = torch.Generator().manual_seed(count)
    sides = [max(1, SIZE // shape.stride) for shape in shapes]
    return [
        torch.randn(count, shape.channels, side, side, generator=random)
        for shape, side in zip(shapes, sides, strict=True)
    ]


def check_shape(case: HeadCase) -> str | None:
    """Logits [B, classes, h, w], finite, for maps of every kind of network that it does not refuse."""
    refusals = []
    for shapes in PYRAMIDS:
        try:
            head = case.build(shapes)
        except StageError as error:
            refusals.append(str(error))
            continue
        require(isinstance(head, nn.Module), f"it gives a {type(head).__name__}: give a torch.nn.Module")
        with torch.no_grad():
            logits = head.eval()(maps_of(shapes))
        strides = ", ".join(str(shape.stride) for shape in shapes)
        require(isinstance(logits, Tensor), f"it gives a {type(logits).__name__}: give logits [B, classes, h, w]")
        fits = logits.ndim == 4 and logits.shape[:2] == (COUNT, CLASSES) and min(logits.shape) > 0
        require(fits, f"for maps of strides {strides} it gives {list(logits.shape)}: give [B, classes, h, w]")
        require(logits.isfinite().all(), "its logits are not finite with fresh weights")
    require(len(refusals) < len(PYRAMIDS), f"it refuses the maps of every network: {refusals[:1]}")
    return f"it refuses some networks: {refusals[0]}" if refusals else None


def check_single(case: HeadCase) -> None:
    """An image's logits in eval mode depend on that image alone."""
    head, maps = case.build(PYRAMIDS[0]).eval(), maps_of(PYRAMIDS[0])
    with torch.no_grad():
        together, alone = head(maps), head([each[:1] for each in maps])
    near = torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-4)
    require(near, "an image's logits depend on the rest of its batch: use running statistics in eval mode")


def check_determinism(case: HeadCase) -> None:
    """Eval mode draws nothing, and fresh weights come from torch's global generator alone."""
    maps = maps_of(PYRAMIDS[0])
    with torch.no_grad():
        first, second = (case.build(PYRAMIDS[0], seed=1).eval()(maps) for _ in range(2))
    require(torch.equal(first, second), "the same seed gives other logits: draw weights from torch's global generator")


def check_gradients(case: HeadCase) -> None:
    """Its parameters train, and a gradient reaches the backbone."""
    head = case.build(PYRAMIDS[0]).train()
    maps = [each.requires_grad_() for each in maps_of(PYRAMIDS[0])]
    logits = head(maps)
    (logits * torch.randn_like(logits)).sum().backward()
    require(list(head.parameters()), "it has no parameters: register its layers on the module")
    grads = [parameter.grad for parameter in head.parameters()]
    require(any(grad is not None and grad.abs().sum() > 0 for grad in grads), "no gradient reaches its parameters")
    require(any(each.grad is not None for each in maps), "no gradient reaches the backbone: the maps are detached")


CHECKS: Mapping[str, Callable[[HeadCase], str | None]] = {
    "shape": check_shape,
    "single": check_single,
    "determinism": check_determinism,
    "gradients": check_gradients,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a head, ready to run."""
    case = HeadCase(component, options.params_of(component).model_dump(mode="json"))
    return {name: partial(check, case) for name, check in CHECKS.items()}
