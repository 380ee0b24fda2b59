"""A loss's checks on every pair of networks that differ for it, and the time of a step."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.components import Component
from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses import benchbench_losses
from benchbench.losses.base import LossContext, Shape
from benchbench.losses.catalog.embeddings import DenseParams
from benchbench.losses.weighted_sum import TEACHER_NEEDS, LossSum
from benchbench.models.fcos import FCOS
from benchbench.models.outputs import Outputs
from benchbench.seeds import seed_everything
from benchbench.specs.records import VANISHING
from benchbench.testing.boxes import at_points, boxes_like, head_on, points_of
from benchbench.testing.check import Call, Options, Refusal, require
from benchbench.testing.losses import CHECKS, PAIRS, LossCase, Step, leaves
from benchbench.testing.networks import rest_of

# A common size of task, for timing: maps are those of ResNets at 112 px.
BATCH, CLASSES, SAMPLES, STUDENT_DIM, TEACHER_DIM = 64, 100, 10_000, 256, 512
STUDENT_MAPS: list[Shape] = [(32, 28, 28), (64, 14, 14), (128, 7, 7), (STUDENT_DIM, 4, 4)]
TEACHER_MAPS: list[Shape] = [(64, 28, 28), (128, 14, 14), (256, 7, 7), (TEACHER_DIM, 4, 4)]
IMAGE, FINEST = 112, 8  # pixels, and stride of the finest maps that a detection reads
ROUNDS, SECONDS = 15, 3.0  # of timing: at most


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a loss, ready to run; a loss that reads no maps is the same on every pair of networks."""
    params = options.params_of(component).model_dump()
    pairs = list(PAIRS) if "features" in component.needs_of(params) else list(PAIRS)[:1]
    on_pairs = [LossCase(component, params, pair) for pair in pairs]
    calls: dict[str, Call] = {f"teacher > student: {case.pair}": partial(check_builds, case) for case in on_pairs}
    calls |= {name: partial(check_everywhere, check, on_pairs) for name, check in CHECKS.items()}
    if issubclass(component.params, DenseParams) and not params["dense"] and not params.get("maps"):
        positions = {**params, "dense": True, "positions": 3}
        calls["dense: true"] = partial(check_positions, [LossCase(component, positions, pair) for pair in PAIRS])
    return calls | {"gradient": partial(gradient, component, params), "speed": partial(speed, component, params)}


def check_builds(case: LossCase) -> None:
    """The loss is built for this pair of networks, or refuses it with a reason."""
    try:
        case.build()
    except StageError as error:
        raise Refusal(str(error)) from error


def check_everywhere(check: Callable[[LossCase], None], on_pairs: Sequence[LossCase]) -> None:
    """One check on every pair that the loss does not refuse."""
    accepted = [case for case in on_pairs if not _refuses(case)]
    require(accepted, "it refuses every pair of networks, so nothing can be checked")
    for case in accepted:
        try:
            check(case)
        except AssertionError as error:
            where = f"{case.pair}: " if len(on_pairs) > 1 else ""
            raise AssertionError(f"{where}{error}") from error


def check_positions(on_pairs: Sequence[LossCase]) -> None:
    """A loss that takes positions of the last maps as samples works with them as with images."""
    for check in CHECKS.values():
        check_everywhere(check, on_pairs)


def gradient(component: Component, params: Mapping[str, Any]) -> str:
    """Size of the gradient to the student's outputs beside that of `ce`, at weight 1.

    Raises:
        AssertionError: it is rounding; a loss that is small but not that needs a large weight, which is a remark.
    """
    try:
        ours, cheapest = (_Step(each, own) for each, own in ((component, params), (_ce(), {})))
    except StageError as error:
        raise Refusal(str(error)) from error
    if any(part.prepares == "student" for part in ours.loss.preparing()):
        return "it trains the student in its first stage"
    ratio = ours.gradient() / cheapest.gradient()
    size = f"{ratio:.2g} x the built-in ce's"
    require(
        ratio > torch.finfo(torch.float32).eps,
        f"the gradient to the student is {size}, which is rounding: the student cannot change the loss",
    )
    return size + (f": its weight is to be about {1 / ratio:.2g}" if ratio < VANISHING else "")


def _ce() -> Component:
    return next(each for each in benchbench_losses() if each.name == "ce")


def speed(component: Component, params: Mapping[str, Any]) -> str:
    """Time of one forward and backward pass beside that of `ce`, in turns; a remark, since any cost may be worth it."""
    try:
        ours = _Step(component, params)
    except StageError as error:
        raise Refusal(str(error)) from error
    cheapest = _Step(_ce(), {})
    times: list[tuple[float, float]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for one another wherever the machine has other work to do
    try:
        for step in (ours, cheapest):
            step.seconds()  # the first pays for allocations
        end = time.perf_counter() + SECONDS
        while len(times) < 3 or (len(times) < ROUNDS and time.perf_counter() < end):
            times.append((ours.seconds(), cheapest.seconds()))
    finally:
        torch.set_num_threads(threads)
    low, ratio, high = statistics.quantiles([mine / other for mine, other in times], n=4)
    milliseconds = 1000 * statistics.median(mine for mine, _ in times)
    spread = f"median of {len(times)}, quartiles {_short(low)} and {_short(high)}"
    return f"{milliseconds:.4g} ms a step of {BATCH} images on one core, {_short(ratio)} x the built-in ce ({spread})"


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


class _Step:
    """A loss on outputs of a realistic size, ready to be timed."""

    def __init__(self, component: Component, params: Mapping[str, Any]):
        case = LossCase(component, params)
        self.loss: LossSum = case.build(context=_context(case))
        seed_everything(0, torch.device("cpu"))  # the same logits for every loss
        self.step = _outputs(component.needs_of(params))

    def gradient(self) -> float:
        """Norm of the gradient to the student's outputs."""
        student, teacher, batch = self.step
        seed_everything(0, batch.labels.device)
        total, _ = self.loss(student, teacher, batch)
        values = leaves(student)
        gradients = torch.autograd.grad(total, values, allow_unused=True) if total.requires_grad else ()
        return math.sqrt(sum(float(each.double().square().sum()) for each in gradients if each is not None))

    def seconds(self) -> float:
        student, teacher, batch = self.step
        start = time.perf_counter()
        total, _ = self.loss(student, teacher, batch)
        if total.requires_grad:
            total.backward()
        return time.perf_counter() - start


def _context(case: LossCase) -> LossContext:
    of_boxes = "boxes" in case.component.needs_of(case.params)
    head = _detector() if of_boxes else nn.Linear(STUDENT_DIM, CLASSES)
    teacher_head = nn.Linear(TEACHER_DIM, CLASSES).requires_grad_(False)
    return replace(
        case.context(),
        classes=CLASSES,
        student_dim=STUDENT_DIM,
        teacher_dim=TEACHER_DIM,
        student_head=head,
        teacher_head=teacher_head,
        labels=torch.arange(SAMPLES) % CLASSES,
        student_features=list(STUDENT_MAPS),
        teacher_features=list(TEACHER_MAPS),
        student_rest=rest_of(STUDENT_MAPS, STUDENT_DIM, head, case.device),
        teacher_rest=rest_of(TEACHER_MAPS, TEACHER_DIM, teacher_head, case.device, frozen=True),
    )


def _detector() -> FCOS:
    return head_on(STUDENT_MAPS, CLASSES, IMAGE, FINEST)


def _outputs(needs: frozenset[str]) -> Step:

    def leaf(*shape: int, train: bool = True) -> Tensor:
        return torch.randn(BATCH, *shape).requires_grad_(train)

    batch = Batch(torch.rand(BATCH, 3, 8, 8), torch.arange(BATCH) % CLASSES, torch.arange(BATCH), 1.0)
    logits: tuple[int, ...] = (CLASSES,)
    if "pixels" in needs:
        _, height, width = STUDENT_MAPS[0]
        logits, batch.masks = (CLASSES, height, width), torch.randint(CLASSES, (BATCH, 4 * height, 4 * width))
    student = Outputs(leaf(*logits), leaf(STUDENT_DIM))
    teacher = Outputs(leaf(*logits, train=False), leaf(TEACHER_DIM, train=False))
    if "boxes" in needs:
        points = points_of(_detector(), STUDENT_MAPS)
        student = at_points(points, CLASSES, student.embedding, leaf)
        teacher = at_points(points, CLASSES, teacher.embedding, partial(leaf, train=False))
        batch.images = torch.rand(BATCH, 3, IMAGE, IMAGE)
        batch.boxes = boxes_like(BATCH, CLASSES, IMAGE, torch.Generator().manual_seed(0))
    if "second_view" in needs:
        student.second_view = Outputs(leaf(*logits), leaf(STUDENT_DIM))
        teacher.second_view = Outputs(leaf(*logits, train=False), leaf(TEACHER_DIM, train=False))
    if "features" in needs:
        student.features = [leaf(*shape) for shape in STUDENT_MAPS]
        teacher.features = [leaf(*shape, train=False) for shape in TEACHER_MAPS]
    if "token" in needs:
        student.token_logits = leaf(CLASSES)
    return student, teacher if needs & TEACHER_NEEDS else None, batch


def _refuses(case: LossCase) -> bool:
    try:
        case.build()
    except StageError:
        return True
    return False
