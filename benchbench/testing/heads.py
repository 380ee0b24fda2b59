"""The contract of a head: a backbone's maps become logits for every class, of a detection boxes too, and it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.components import Component
from benchbench.data.boxes import NO_BOX
from benchbench.errors import StageError
from benchbench.models.detection import DetectionHead
from benchbench.models.outputs import BoxOutputs, Outputs
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


def maps_of(shapes: tuple[MapShape, ...]) -> list[Tensor]:
    """Maps of these shapes, of images of `SIZE` pixels a side."""
    random = torch.Generator().manual_seed(COUNT)
    sides = [max(1, SIZE // shape.stride) for shape in shapes]
    return [
        torch.randn(COUNT, shape.channels, side, side, generator=random)
        for shape, side in zip(shapes, sides, strict=True)
    ]


def check_shape(case: HeadCase) -> str | None:
    """Logits (and boxes) of the right shapes, finite, for maps of every kind of network that it does not refuse."""
    refusals = []
    for shapes in PYRAMIDS:
        try:
            head = case.build(shapes)
        except StageError as error:
            refusals.append(str(error))
            continue
        require(isinstance(head, nn.Module), f"it gives a {type(head).__name__}: give a torch.nn.Module")
        with torch.no_grad():
            given = head.eval()(maps_of(shapes))
        require_form = _require_boxes if case.component.boxes else _require_pixels
        require_form(given, f"for maps of strides {', '.join(str(shape.stride) for shape in shapes)} it gives")
        require(
            all(each.isfinite().all() for each in tensors_of(given)), "its logits are not finite with fresh weights"
        )
    require(len(refusals) < len(PYRAMIDS), f"it refuses the maps of every network: {refusals[:1]}")
    return f"it refuses some networks: {refusals[0]}" if refusals else None


def _require_pixels(logits: Any, prefix: str) -> None:
    require(isinstance(logits, Tensor), f"it gives a {type(logits).__name__}: give logits [B, classes, h, w]")
    fits = logits.ndim == 4 and logits.shape[:2] == (COUNT, CLASSES) and min(logits.shape) > 0
    require(fits, f"{prefix} {list(logits.shape)}: give [B, classes, h, w]")


def _require_boxes(given: Any, prefix: str) -> None:
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], BoxOutputs)
    require(pair, f"it gives a {type(given).__name__}: give (logits [B, A, classes], BoxOutputs)")
    logits, boxes = given
    count = len(boxes.points)
    expected = {
        "logits": (logits, (COUNT, count, CLASSES)),
        "distances": (boxes.distances, (COUNT, count, 4)),
        "centerness": (boxes.centerness, (COUNT, count)),
        "points": (boxes.points, (count, 3)),
    }
    for name, (tensor, shape) in expected.items():
        require(tuple(tensor.shape) == shape, f"{prefix} {name} {list(tensor.shape)}: give {list(shape)}")
    require(count and sum(boxes.levels) == count, f"its levels have {sum(boxes.levels)} points, and there are {count}")
    within = ((boxes.points[:, :2] >= 0) & (boxes.points[:, :2] <= SIZE)).all() and (boxes.points[:, 2] > 0).all()
    require(within, "its points are not x, y and stride in pixels of the image")


def tensors_of(given: Tensor | tuple[Tensor, BoxOutputs]) -> list[Tensor]:
    """Outputs of a head, the images first in each."""
    return [given] if isinstance(given, Tensor) else [given[0], given[1].distances, given[1].centerness]


def check_single(case: HeadCase) -> None:
    """An image's logits in eval mode depend on that image alone."""
    head, maps = case.build(PYRAMIDS[0]).eval(), maps_of(PYRAMIDS[0])
    with torch.no_grad():
        together, alone = (tensors_of(head(each)) for each in (maps, [each[:1] for each in maps]))
    near = all(
        torch.allclose(*pair, rtol=1e-3, atol=1e-4) for pair in zip([t[:1] for t in together], alone, strict=True)
    )
    require(near, "an image's logits depend on the rest of its batch: use running statistics in eval mode")


def check_determinism(case: HeadCase) -> None:
    """Eval mode draws nothing, and fresh weights come from torch's global generator alone."""
    maps = maps_of(PYRAMIDS[0])
    with torch.no_grad():
        first, second = (tensors_of(case.build(PYRAMIDS[0], seed=1).eval()(maps)) for _ in range(2))
    require(
        all(map(torch.equal, first, second)),
        "the same seed gives other logits: draw weights from torch's global generator",
    )


def check_gradients(case: HeadCase) -> None:
    """Its parameters train, and a gradient reaches the backbone."""
    head = case.build(PYRAMIDS[0]).train()
    maps = [each.requires_grad_() for each in maps_of(PYRAMIDS[0])]
    torch.stack([(each * torch.randn_like(each)).sum() for each in tensors_of(head(maps))]).sum().backward()
    require(list(head.parameters()), "it has no parameters: register its layers on the module")
    grads = [parameter.grad for parameter in head.parameters()]
    require(any(grad is not None and grad.abs().sum() > 0 for grad in grads), "no gradient reaches its parameters")
    require(any(each.grad is not None for each in maps), "no gradient reaches the backbone: the maps are detached")


# Boxes of a batch's images: one in the first and none in the second; one that is ignored; none.
OBJECT, NONE = (8.0, 12.0, 40.0, 50.0, 1.0, 0.0), (0.0, 0.0, 0.0, 0.0, float(NO_BOX), 0.0)
BATCHES = {
    "with objects": (OBJECT, NONE),
    "with a box to be ignored": ((*OBJECT[:5], 1.0), NONE),
    "without objects": (NONE, NONE),
}


def _detector(case: HeadCase) -> DetectionHead:
    head = case.build(PYRAMIDS[0])
    kind = f"its head is a {type(head).__name__}: give a benchbench.models.detection.DetectionHead"
    require(isinstance(head, DetectionHead), kind)
    assert isinstance(head, DetectionHead)
    return head


def _outputs(head: DetectionHead, maps: list[Tensor]) -> Outputs:
    logits, boxes = head(maps)
    return Outputs(logits, maps[-1].mean((2, 3)), boxes=boxes)


def check_loss(case: HeadCase) -> None:
    """The terms of its loss are finite scalars, and so are their gradients, with and without objects."""
    for name, rows in BATCHES.items():
        head, maps = _detector(case).train(), [each.requires_grad_() for each in maps_of(PYRAMIDS[0])]
        terms = head.loss(_outputs(head, maps), torch.tensor(rows)[:, None])
        require(isinstance(terms, dict) and terms, f"its loss is a {type(terms).__name__}: give a dict of scalars")
        for term, value in terms.items():
            fits = isinstance(value, Tensor) and value.ndim == 0 and value.isfinite()
            require(fits, f"{name} the term '{term}' of its loss is {value}: give a finite scalar")
        torch.stack([*terms.values()]).sum().backward()
        grads = [each.grad for each in (*head.parameters(), *maps) if each.grad is not None]
        require(all(grad.isfinite().all() for grad in grads), f"{name} a gradient of its loss is not finite")
        require(any(grad.abs().sum() > 0 for grad in grads), f"{name} its loss has no gradient")


def check_detections(case: HeadCase) -> None:
    """The boxes that it finds lie in the image, each with a score and a class."""
    head = _detector(case).eval()
    with torch.no_grad():
        found = head.detections(_outputs(head, [10 * each for each in maps_of(PYRAMIDS[0])]), SIZE)
    require(len(found) == COUNT, f"detections has {len(found)} entries for {COUNT} images")
    for corners, scores, classes in found:
        shapes = [list(each.shape) for each in (corners, scores, classes)]
        count = len(scores)
        require(shapes == [[count, 4], [count], [count]], f"detections gives {shapes}: give [K, 4], [K] and [K]")
        within = ((corners >= 0) & (corners <= SIZE)).all() and (corners[:, 2:] >= corners[:, :2]).all()
        require(within, "its boxes are not left, top, right and bottom within the image: clamp them")
        require(((scores >= 0) & (scores <= 1)).all(), "its scores are not in 0..1")
        require(((classes >= 0) & (classes < CLASSES)).all(), f"its classes are not in 0..{CLASSES - 1}")


CHECKS: Mapping[str, Callable[[HeadCase], str | None]] = {
    "shape": check_shape,
    "single": check_single,
    "determinism": check_determinism,
    "gradients": check_gradients,
}
# Of heads of detections beside these.
BOX_CHECKS: Mapping[str, Callable[[HeadCase], str | None]] = {"loss": check_loss, "detections": check_detections}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a head, ready to run."""
    case = HeadCase(component, options.params_of(component).model_dump(mode="json"))
    checks = {**CHECKS, **BOX_CHECKS} if component.boxes else CHECKS
    return {name: partial(check, case) for name, check in checks.items()}
