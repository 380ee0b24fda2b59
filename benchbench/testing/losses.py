"""The contract of a loss as checks: gradients, precision, batch sizes, determinism, resume, preparation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchbench.components import Component, Offer, Registry
from benchbench.data.batch import Batch, Mix
from benchbench.losses.base import LossContext, Shape
from benchbench.losses.weighted_sum import LossSum
from benchbench.models.outputs import Outputs
from benchbench.seeds import seed_everything
from benchbench.specs.parts import LossSpec
from benchbench.statistics.masks import IGNORED
from benchbench.testing.boxes import at_points, boxes_like, head_on, points_of
from benchbench.testing.networks import rest_of

CPU = torch.device("cpu")
HALF = (torch.float16, torch.bfloat16)
CLASSES, STUDENT_DIM, TEACHER_DIM = 5, 6, 11
LOGIT_SIZE, MASK_SIZE = (4, 4), (8, 8)  # of segmentations
DRAWS = 8  # steps in which every part of a loss is reached
SIDE, FINEST = 16, 4  # pixels of the images of detections, and stride of the finest maps that their head reads
LABELS = (3, 0, 1, 4, 0, 0, 3, 1, 4, 2, 0, 1, 3, 0, 4, 1, 0, 3, 2, 0, 4, 0, 1)  # 23 samples of uneven classes
# Maps of networks that differ in width, depth and size, (student, teacher); the last map is as wide as the embedding.
CNN_STUDENT: list[Shape] = [(3, 8, 8), (4, 4, 4), (STUDENT_DIM, 2, 2)]
CNN_TEACHER: list[Shape] = [(4, 12, 12), (6, 6, 6), (8, 4, 4), (TEACHER_DIM, 3, 3)]
VIT_STUDENT: list[Shape] = [(STUDENT_DIM, 4, 4)] * 5
VIT_TEACHER: list[Shape] = [(TEACHER_DIM, 3, 3)] * 6
PAIRS: Mapping[str, tuple[list[Shape], list[Shape]]] = {
    "cnn > cnn": (CNN_STUDENT, CNN_TEACHER),
    "vit > cnn": (CNN_STUDENT, VIT_TEACHER),
    "cnn > vit": (VIT_STUDENT, CNN_TEACHER),
}
Step = tuple[Outputs, Outputs | None, Batch]


@dataclass(frozen=True)
class LossCase:
    """A loss with parameters on one pair of networks ("teacher > student", a key of `PAIRS`), and the device it is on.

    Weights and outputs are drawn on the CPU, so that they are the same on every device.
    """

    component: Component
    params: Mapping[str, Any] = field(default_factory=dict)
    pair: str = "cnn > cnn"
    device: torch.device = CPU

    def context(self) -> LossContext:
        """A small task with uneven classes and a frozen teacher head."""
        student, teacher = PAIRS[self.pair]
        seed_everything(0, CPU)
        head = nn.Linear(TEACHER_DIM, CLASSES).requires_grad_(False)
        of_boxes = "boxes" in self.component.needs_of(self.params)
        own = head_on(student, CLASSES, SIDE, FINEST) if of_boxes else nn.Linear(STUDENT_DIM, CLASSES)
        own, head = own.to(self.device), head.to(self.device)
        return LossContext(
            classes=CLASSES,
            student_dim=STUDENT_DIM,
            teacher_dim=TEACHER_DIM,
            student_head=own,
            teacher_head=head,
            labels=torch.tensor(LABELS, device=self.device),
            epochs=10,
            device=self.device,
            student_features=list(student),
            teacher_features=list(teacher),
            student_rest=rest_of(student, STUDENT_DIM, own, self.device),
            teacher_rest=rest_of(teacher, TEACHER_DIM, head, self.device, frozen=True),
        )

    def build(self, seed: int = 0, context: LossContext | None = None) -> LossSum:
        """As a training stage does: parameters checked first, then the method's head, then the loss.

        Raises:
            StageError: the loss refuses this pair of networks.
        """
        context = context or self.context()
        params = self.component.params(**self.params).model_dump(mode="json")
        seed_everything(seed, CPU)
        make_head = getattr(self.component.load(), "make_head", None)
        advice = "`replaces_head` of its component says whether it has a `make_head`"
        assert self.component.replaces_head == (make_head is not None), advice
        if make_head is not None:
            head: nn.Module = make_head(context.student_dim, context.teacher_dim, context.classes, **params)
            context.student_head = head.to(self.device)
        registry = Registry()
        registry.add(Offer("loss", self.component, "under test"))
        return LossSum([LossSpec(name=self.component.name, params=params)], registry, context).to(context.device)

    def step(self, size: int = 7, seed: int = 0, dtype: torch.dtype = torch.float32, epoch: float = 3.0) -> Step:
        """Outputs of both sides and the batch they are of: leaves that require gradients, the teacher's too."""
        generator = torch.Generator().manual_seed(seed)
        needs = self.component.needs_of(self.params)
        logits = (CLASSES, *LOGIT_SIZE) if "pixels" in needs else (CLASSES,)

        def leaf(*shape: int) -> Tensor:
            return (3 * torch.randn(size, *shape, generator=generator)).to(self.device, dtype).requires_grad_()

        student, teacher = PAIRS[self.pair]
        index = torch.randperm(len(LABELS), generator=generator)[:size]
        images, labels = torch.rand(size, 3, 4, 4, generator=generator), torch.tensor(LABELS)[index]
        batch = Batch(images.to(self.device), labels.to(self.device), index.to(self.device), epoch)
        sides = Outputs(leaf(*logits), leaf(STUDENT_DIM)), Outputs(leaf(*logits), leaf(TEACHER_DIM))
        if "boxes" in needs:
            points = points_of(head_on(student, CLASSES, SIDE, FINEST).to(self.device), student)
            first, second = (at_points(points, CLASSES, side.embedding, leaf) for side in sides)
            sides = first, second
            batch.images = torch.rand(size, 3, SIDE, SIDE, generator=generator).to(self.device)
            batch.boxes = boxes_like(size, CLASSES, SIDE, generator).to(self.device)
        if "second_view" in needs:
            batch.second_view = torch.rand(size, 3, 4, 4, generator=generator).to(self.device)
            sides[0].second_view = Outputs(leaf(*logits), leaf(STUDENT_DIM))
            sides[1].second_view = Outputs(leaf(*logits), leaf(TEACHER_DIM))
        if "features" in needs:
            sides[0].features, sides[1].features = [leaf(*s) for s in student], [leaf(*s) for s in teacher]
        if "token" in self.component.needs:
            sides[0].token_logits = leaf(CLASSES)
        if "pixels" in needs:
            batch.masks = masks_like(size, generator).to(self.device)
        return sides[0], sides[1] if self.component.reads_teacher else None, batch


def masks_like(count: int, generator: torch.Generator) -> Tensor:
    """Masks [B, H, W] of random classes, whose first row is ignored."""
    masks = torch.randint(CLASSES, (count, *MASK_SIZE), generator=generator)
    masks[:, 0] = IGNORED
    return masks


def run(loss: LossSum, step: Step, seed: int = 5) -> tuple[Tensor, dict[str, Tensor]]:
    """One evaluation of a loss, seeded as the training loop does."""
    seed_everything(seed, step[2].labels.device)
    return loss(*step)


def leaves(outputs: Outputs | None) -> list[Tensor]:
    """Every tensor of a network's outputs."""
    if outputs is None:
        return []
    return outputs.tensors()


def check_terms(case: LossCase) -> None:
    """Finite float32 scalars, with finite gradients, in float32 and bfloat16, for batches of one, two and seven."""
    for dtype in (torch.float32, torch.bfloat16):
        for size in (1, 2, 7):
            where = f"with a batch of {size} in {str(dtype).removeprefix('torch.')}"
            step = case.step(size, dtype=dtype)
            total, terms = run(case.build(), step)
            for name, term in terms.items():
                assert term.dtype == torch.float32, f"term '{name}' is {term.dtype} {where}: give it in float32"
                assert term.isfinite(), (
                    f"term '{name}' is {term.item()} {where}: look for a division by 0 or a log of 0"
                )
            if total.requires_grad:
                total.backward()
            for tensor in leaves(step[0]):
                assert tensor.grad is None or tensor.grad.isfinite().all(), (
                    f"the student's gradient is not finite {where}"
                )


def check_gradients(case: LossCase) -> None:
    """To the student and to every part of the loss; none to the teacher's classifier.

    A part that the first stage trains needs no gradient afterwards, and one that is drawn in some steps alone gets its
    gradient there. A loss whose first stage trains the student may be a constant 0 afterwards; `check_preparation` sees
    to it that the student is reached before.
    """
    context = case.context()
    loss = case.build(context=context)
    step = case.step()
    total, _ = run(loss, step)
    assert total.requires_grad, "no gradient reaches the student: something detaches its outputs"
    total.backward()
    trained = any(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in leaves(step[0]))
    two_stage = loss.preparing()
    zero = bool(two_stage) and all(part.prepares == "student" for part in two_stage) and total.item() == 0
    assert trained or zero, "no gradient reaches the student: does the loss depend on its outputs?"
    assert context.teacher_head is not None
    assert all(p.grad is None and not p.requires_grad for p in context.teacher_head.parameters()), (
        "the teacher's classifier gets a gradient: it stays as it is"
    )
    own = {id(parameter) for parameter in context.student_head.parameters()}
    prepared: set[str] = set()
    if two_stage:
        first = case.build()
        first.prepare(*case.step())[0].backward()
        prepared = {name for name, parameter in first.named_parameters() if parameter.grad is not None}
    for seed in range(DRAWS):
        if any(each.grad is None for each in loss.parameters()):
            run(loss, case.step(), seed)[0].backward()
    for name, parameter in loss.named_parameters():
        assert id(parameter) not in own, "the loss keeps the student's head as its own part: it would be trained twice"
        if not parameter.requires_grad or (parameter.grad is None and name in prepared):
            continue
        assert parameter.grad is not None, f"its parameter {name} gets no gradient: use it, or make it a buffer"
        assert parameter.grad.isfinite().all(), f"the gradient of its parameter {name} is not finite"


class _HalfPrecision(TorchDispatchMode):
    """Collects the operations that give a tensor of half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) and leaf.dtype in HALF for leaf in tree_leaves(value)):
            self.operations.append(str(func))
        return value


def check_precision(case: LossCase) -> None:
    """Everything is computed in float32: the loss converts nothing to half precision and enters no autocast."""
    loss, step = case.build(), case.step()
    with _HalfPrecision() as half:
        run(loss, step)
    assert not half.operations, f"it computes in half precision ({half.operations[0]}): leave its inputs in float32"


def check_determinism(case: LossCase) -> None:
    """The same seed gives the same value."""
    first, second = (run(case.build(seed=1), case.step())[1] for _ in range(2))
    _assert_same(first, second, "with the same seed: draw from torch's global generator alone")


def check_resume(case: LossCase) -> None:
    """A loss restored from its state goes on as if nothing had happened: banks and projectors are in the state."""
    context, fresh = case.context(), case.context()
    loss = case.build(seed=1, context=context)
    # The student's head is saved and restored with the student; a method may have put in its own.
    parameters = [p for p in [*loss.parameters(), *context.student_head.parameters()] if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for seed in range(3):
        total, _ = run(loss, case.step(seed=seed), seed)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    restored = case.build(seed=2, context=fresh)
    restored.load_state_dict(copy.deepcopy(loss.state_dict()))
    fresh.student_head.load_state_dict(copy.deepcopy(context.student_head.state_dict()))
    for seed in range(3, 6):
        expected = run(loss, case.step(seed=seed), seed)[1]
        terms = run(restored, case.step(seed=seed), seed)[1]
        _assert_same(terms, expected, "after a resume: keep state in parameters and buffers, not in attributes")


def check_device(case: LossCase) -> None:
    """No tensor of a loss stays behind when its parts are moved to the training device."""
    context = case.context()
    context.device = torch.device("meta")
    loss = case.build(context=context)
    for name, module in loss.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and value.device.type != "meta" and value is not context.labels:
                where = f"{name}.{attribute}"
                raise AssertionError(f"{where} is not on the training device: keep it as a parameter or a buffer")


def check_teacher(case: LossCase) -> None:
    """A loss that needs a teacher reads it."""
    if not case.component.reads_teacher:
        return
    loss = case.build()
    student, _, batch = case.step()
    call: Callable[..., Any] = loss.preparing()[0].prepare if loss.preparing() else loss.losses[0].loss
    try:
        call(student, None, batch)  # not by the sum, which refuses it
    except Exception:
        return
    raise AssertionError("it needs a teacher and runs without one: take the teacher out of its needs")


def check_mixing(case: LossCase) -> None:
    """On mixed images neither of the two labels is the label, and the index names neither of the two images.

    The order of two mixed images is arbitrary: a loss whose value depends on it must need `hard_labels`. Images with
    masks, boxes or a second view are not mixed.
    """
    if {"hard_labels", "pixels", "boxes", "second_view"} & case.component.needs_of(case.params):
        return
    values = []
    for swapped in (False, True):
        student, teacher, batch = case.step()
        other, share = batch.labels.roll(1), torch.linspace(0, 1, len(batch.labels))
        first, second = (other, batch.labels) if swapped else (batch.labels, other)
        index = batch.index.roll(1) if swapped else batch.index
        mix = Mix(second, 1 - share if swapped else share)
        loss = case.build()
        for _ in range(2):  # the second time, a memory bank holds what the first one has left
            _, terms = run(loss, (student, teacher, Batch(batch.images, first, index, batch.epoch, mix=mix)))
        values.append(terms)
    for name, term in values[0].items():
        assert torch.allclose(term, values[1][name], rtol=1e-4), (
            f"term '{name}' reads the label or the index of one of two mixed images: add `hard_labels` to its needs, "
            "or use `batch.mix` too"
        )


def check_preparation(case: LossCase) -> None:
    """The first stage of a two-stage method trains the part that it names."""
    loss = case.build()
    for part in loss.preparing():
        prepares = part.prepares
        assert part.preparation > 0, "`prepares` is set and `preparation` is 0: set it in the constructor"
        step = case.step()
        seed_everything(5, CPU)
        total, terms = loss.prepare(*step)
        assert terms, "`prepare` gives no terms"
        assert all(term.isfinite() for term in terms.values()), "a term of `prepare` is not finite"
        total.backward()
        trains_student = any(tensor.grad is not None for tensor in leaves(step[0]))
        assert trains_student == (prepares == "student"), (
            f"`prepares` is {prepares!r}, and its gradient reaches another part"
        )
        assert any(p.grad is not None for p in part.parameters()) or trains_student, "`prepare` trains nothing"


CHECKS: Mapping[str, Callable[[LossCase], None]] = {
    "terms": check_terms,
    "gradients": check_gradients,
    "precision": check_precision,
    "determinism": check_determinism,
    "resume": check_resume,
    "device": check_device,
    "teacher": check_teacher,
    "mixing": check_mixing,
    "preparation": check_preparation,
}


def _assert_same(terms: Mapping[str, Tensor], expected: Mapping[str, Tensor], advice: str) -> None:
    assert terms.keys() == expected.keys(), f"other terms {advice}"
    for name, term in terms.items():
        assert torch.equal(term, expected[name]), (
            f"term '{name}' differs ({term.item():.9g}, not {expected[name].item():.9g}) {advice}"
        )
