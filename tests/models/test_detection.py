"""Detections: points of the pyramid, the loss of the head, and the boxes of images."""

import pytest
import torch

from benchbench.data.images import GROUP, HARD
from benchbench.errors import StageError
from benchbench.models.build import build_backbone
from benchbench.models.detection import COLUMNS, MOST_DETECTED, DetectionHead, box_rows, some_boxes, task_loss
from benchbench.models.fcos import FCOS
from benchbench.models.outputs import Outputs
from benchbench.models.segmentation import MapShape
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, ModelSpec

MAPS = [MapShape(8, 4), MapShape(8, 8), MapShape(8, 8), MapShape(16, 16)]
SIZE = 32


def head_of(**changes):
    torch.manual_seed(0)
    return FCOS(MAPS, 3, **{"width": 32, "convolutions": 1, "finest": 8, "extra_levels": False, **changes})


def maps_of(count=2):
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(count, shape.channels, SIZE // shape.stride, SIZE // shape.stride, generator=random)
        for shape in MAPS
    ]


def outputs_of(head, maps):
    logits, boxes = head(maps)
    return Outputs(logits, torch.zeros(len(logits), 1), boxes=boxes)


def test_points_lie_in_the_middle_of_cells_of_the_last_map_of_each_stride():
    boxes = outputs_of(head_of(), maps_of()).boxes
    assert boxes.levels == (16, 4)
    assert boxes.points[:3].tolist() == [[4, 4, 8], [12, 4, 8], [20, 4, 8]]
    assert boxes.points[16:].tolist() == [[8, 8, 16], [24, 8, 16], [8, 24, 16], [24, 24, 16]]
    assert outputs_of(head_of(extra_levels=True), maps_of()).boxes.levels == (16, 4, 1, 1)
    with pytest.raises(StageError, match="fcos reads maps of stride 32 and more, and the network's coarsest has 16"):
        head_of(finest=32)


def test_no_side_of_a_box_begins_at_its_point():
    distances = outputs_of(head_of(), maps_of()).boxes.distances
    assert bool((distances > 0.5).all())
    assert bool((distances < 2).all())


def perfect(head, corners, number):
    """Outputs that say the boxes of one object of each image."""
    outputs = outputs_of(head, maps_of(len(corners)))
    x, y, stride = outputs.boxes.points.unbind(-1)
    left, top, right, bottom = corners[:, None].unbind(-1)
    distances = torch.stack([x - left, y - top, right - x, bottom - y], -1) / stride[:, None]
    inside = (distances > 0).all(-1)
    outputs.logits = torch.full_like(outputs.logits, -20)
    outputs.logits[..., number] = torch.where(inside, 20.0, -20.0)
    outputs.boxes.distances, outputs.boxes.centerness = distances.clamp_min(0), torch.where(inside, 20.0, -20.0)
    return outputs


def test_perfect_outputs_give_the_boxes_back_and_a_small_loss():
    head, corners = head_of(), torch.tensor([[2.0, 3, 20, 22], [10, 8, 31, 30]])
    outputs = perfect(head, corners, 1)
    for (found, scores, classes), box in zip(head.detections(outputs, SIZE), corners, strict=True):
        assert torch.allclose(found[0], box, atol=1e-4)
        assert len(found) == 1  # the others overlap
        assert scores[0] > 0.99
        assert classes.tolist() == [1]
    boxes = torch.cat([corners, torch.tensor([[1.0, 0], [1, 0]])], 1)[:, None]
    terms = head.loss(outputs, boxes)
    assert terms["boxes"] < 1e-4
    other = head.loss(outputs, boxes + torch.tensor([0, 0, 0, 0, 1, 0]))
    assert other["classes"] > 5 * terms["classes"]


def test_rows_have_what_was_found_and_what_is_there():
    head, corners = head_of(), torch.tensor([[2.0, 3, 20, 22], [10, 8, 31, 30]])
    outputs = perfect(head, corners, 1)
    boxes = torch.zeros(2, 4, 6)
    boxes[..., 4] = -1
    boxes[0, 0], boxes[0, 1] = torch.tensor([2.0, 3, 20, 22, 1, 0]), torch.tensor([1.0, 1, 5, 5, 2, GROUP])
    boxes[0, 2] = torch.tensor([2.0, 2, 6, 6, 2, HARD])
    rows = box_rows(head, outputs, boxes, SIZE)
    assert rows.shape == (2, MOST_DETECTED + 4, COLUMNS)
    assert (rows[..., 6] == 1).sum(1).tolist() == [1, 1]
    assert rows[0, MOST_DETECTED:, 6].tolist() == [2, 3, 4, 0]
    assert rows[0, MOST_DETECTED].tolist() == [2, 3, 20, 22, 1, 0, 2]
    assert rows[1, MOST_DETECTED:].abs().max() == 0


def test_images_without_objects_teach_that_nothing_is_there():
    head, maps = head_of(), maps_of()
    none = some_boxes(2, SIZE, torch.device("cpu")).clone()
    none[..., 4] = -1
    outputs = outputs_of(head, maps)
    terms = [head.loss(outputs, boxes) for boxes in (none, some_boxes(2, SIZE, torch.device("cpu")))]
    assert terms[0]["boxes"] == terms[0]["centerness"] == 0
    assert terms[1]["boxes"] > 0
    sum(terms[0].values()).backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in head.parameters())


@pytest.mark.parametrize("kind", [GROUP, HARD])
def test_points_in_ignored_boxes_alone_teach_nothing(kind):
    """Those of an object in them count, and those beside them are background."""
    outputs = outputs_of(head_of(), maps_of())
    outputs.logits = outputs.logits.detach().requires_grad_()
    boxes = torch.tensor([[[0.0, 0, 16, 32, 0, kind], [0, 0, 8, 8, 1, 0]], [[0, 0, 32, 32, -1, 0]] * 2])
    head_of().loss(outputs, boxes)["classes"].backward()
    taught = outputs.logits.grad.abs().sum(2) > 0
    assert taught[1].all()
    fine = [[True, False, True, True], *[[False, False, True, True]] * 3]
    assert taught[0, :16].view(4, 4).tolist() == fine  # of stride 8
    assert taught[0, 16:].tolist() == [False, True, False, True]


def test_a_network_learns_where_objects_are():
    torch.manual_seed(0)
    head = ComponentSpec(name="fcos", params={"width": 32, "convolutions": 1, "finest": 2, "extra_levels": False})
    spec = ModelSpec(source="cifar", name="resnet8", head=head)
    model = build_backbone(spec, "student", load_plugins().registry, 2)
    images, boxes = torch.rand(4, 3, SIZE, SIZE) * 0.2, torch.zeros(4, 1, 6)
    for number in range(4):
        left, top = 4 + 3 * number, 10 - 2 * number
        images[number, :, top : top + 12, left : left + 12] += 0.7
        boxes[number, 0, :5] = torch.tensor([left, top, left + 12, top + 12, number % 2])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(80):
        loss = task_loss(model, model(images), boxes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]
    found = model.detector.detections(model(images), SIZE)
    best = torch.stack([corners[scores.argmax()] for corners, scores, _ in found])
    assert (best - boxes[:, 0, :4]).abs().max() < 6


def test_boxes_of_any_head_are_dropped_as_torchvision_drops_those_of_fcos():
    head = head_of()
    outputs = outputs_of(head, maps_of())
    random = torch.Generator().manual_seed(2)
    outputs.logits = 2 * torch.randn(outputs.logits.shape, generator=random)
    outputs.boxes.distances = 3 * torch.rand(outputs.boxes.distances.shape, generator=random)
    pairs = zip(head.detections(outputs, SIZE), DetectionHead.detections(head, outputs, SIZE), strict=True)
    for expected, found in pairs:
        assert 5 < len(found[0]) < 60
        for first, second in zip(expected, found, strict=True):
            torch.testing.assert_close(first, second)


def test_points_are_in_pixels_of_the_images_whatever_size_the_trunk_takes():
    head = ComponentSpec(name="fcos", params={"width": 32, "convolutions": 0, "finest": 2, "extra_levels": False})
    spec = ModelSpec(source="cifar", name="resnet8", head=head, input_size=64)
    model = build_backbone(spec, "student", load_plugins().registry, 2).eval()
    boxes = model(torch.rand(1, 3, SIZE, SIZE)).boxes
    assert boxes.points[:2].tolist() == [[0.5, 0.5, 1], [1.5, 0.5, 1]]  # of stride 2 in an image of 64 pixels
    assert boxes.points[:, :2].max() < SIZE
