"""Two processes that train small networks together, beside one process that trains the same: how far they differ.

`python -m tests.training.pair FOLDER [CASE ...]` runs all cases, or some, and writes the largest relative difference of
any weight of each into FOLDER/differences.json. Losses are trained some at a time; each is a case of its own by name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.augmenters.mixing import mixup
from benchbench.data.images import ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.loader import Loader
from benchbench.data.sources.common import ArrayImages
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform, bind_augmenters, bind_mixers
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.losses.multi_teacher import LossSetup, add_student_heads, build_losses
from benchbench.losses.weighted_sum import TEACHER_NEEDS
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ComponentSpec, LossSpec
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort, SharedInputs
from benchbench.training.distributed import Meeting, World
from benchbench.training.loop import predict, train
from benchbench.training.member import Member
from benchbench.training.teachers import LiveTeacher
from tests.training.small import CLASSES, CPU, SIDE, coloured, evaluate, small_recipe

# 7 images a batch, of which one process has 3 and the other 4; 3 steps in each of 2 epochs; 18 held out, 3 batches.
BATCH, EPOCHS, TRAIN, HELD_OUT = 7, 2, np.arange(22), np.arange(22, 40)
GROUP = 7  # losses that are trained at a time
# Numbers as small as this are rounding: weights whose gradient is 0 but for that, as a normalisation takes them out.
ROUNDING = 1e-9
SMALLER = {"crd": {"negatives": 5, "dim": 4}, "seed": {"queue": 9}, "align_uniform": {"dim": 4}}
REGISTRY = load_plugins().registry
FUNCTIONS = {"flip": flip, "random_crop": random_crop, "mixup": mixup}


class Network(nn.Module):
    """Three stages with batch normalisation, dropout and stochastic depth between them."""

    def __init__(self, widths: Sequence[int], norm: Callable[[int], nn.Module], dropout: float = 0.0):
        super().__init__()
        pairs = zip((3, *widths), widths, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2 if index == 0 else 1, 1), norm(b), nn.ReLU())
            for index, (a, b) in enumerate(pairs)
        )
        self.dropout, self.token = nn.Dropout(dropout), nn.Linear(widths[-1], widths[-1])

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.rest(-1, images)

    def rest(self, index: int, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for stage in self.stages[index + 1 :]:
            images = stage(images)
            if self.training and self.dropout.p:  # stochastic depth, as libraries draw it
                images = images * images.new_empty(len(images), 1, 1, 1).bernoulli_(0.8) / 0.8
            maps.append(images)
        return self.dropout(images).mean((2, 3)), maps

    def with_token(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        embedding, maps = self.with_features(images)
        return embedding, self.token(embedding), maps

    def forward(self, images: Tensor) -> Tensor:
        return self.with_features(images)[0]


def group_norm(width: int) -> nn.Module:
    return nn.GroupNorm(2, width)


def backbone(seed: int, widths: Sequence[int], norm: Callable[[int], nn.Module], dropout: float = 0.0) -> Backbone:
    seed_everything(seed, CPU)
    module = Network(widths, norm, dropout)
    trunk = Trunk(module, widths[-1], (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    more = {name: getattr(module, name) for name in ("with_features", "with_token", "rest")}
    return Backbone(replace(trunk, **more), CLASSES)


def teacher_network() -> Backbone:
    model = backbone(77, (6, 8, 10), nn.BatchNorm2d)
    for _ in range(3):
        model(torch.rand(4, 3, SIDE, SIDE))
    return model.freeze()


def loaders(mix: Sequence[str] = (), streaming: bool = False) -> tuple[Loader, Loader]:
    """Of training and validation images."""
    augment = ComponentSpec(name="flip", params={"probability": 0.5}), ComponentSpec(name="random_crop", params=PADDED)
    mixers = [ComponentSpec(name=name, params={"alpha": 1.0, "probability": 0.8}) for name in mix]
    load = FUNCTIONS.__getitem__
    transform = Transform(SIDE, None, bind_augmenters(augment, load), bind_mixers(mixers, load))
    kind = (
        (lambda subset: StreamingLoader(subset, transform, CPU, 0))
        if streaming
        else (lambda subset: InMemoryLoader(subset, transform, CPU))
    )
    images = coloured(40)
    images = replace(images, image=ArrayImages(images.array))
    return kind(ImageSubset(images, TRAIN)), kind(ImageSubset(images, HELD_OUT))


PADDED = {"padding": 1, "resize": None}


def loss_specs(names: Sequence[str]) -> list[LossSpec]:
    return [
        LossSpec(name=name, params=REGISTRY.get("loss", name).params(**SMALLER.get(name, {})).model_dump(mode="json"))
        for name in names
    ]


def cohort_of(
    names: Sequence[str],
    world: World | None,
    folder: Path,
    *,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    dropout: float = 0.0,
    inputs: tuple[Loader, Loader] | None = None,
    interval: float = 1e9,
    **changes: object,
) -> Cohort:
    """One member with its losses and its teacher; `changes` are of its recipe."""
    specs, student = loss_specs([*names]), backbone(0, (4, 6, 8), norm, dropout)
    needs = frozenset().union(*(REGISTRY.get("loss", name).needs for name in names))
    teachers = [teacher_network()] if needs & TEACHER_NEEDS else []
    train_loader, held_out = inputs or loaders()
    recipe = small_recipe(**{"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "sgd", "lr": 0.05, **changes})
    seed_everything(1000, CPU)
    add_student_heads(student, specs, REGISTRY, [teacher.dim for teacher in teachers])
    setup = LossSetup(train_loader.labels, SIDE, EPOCHS, CPU, (1.0,) * len(teachers))
    live = [LiveTeacher(ConfiguredModel(each, ExecutionConfig(), CPU), world=world) for each in teachers]
    if world is not None:
        train_loader.share = held_out.share = world.share
    shared = SharedInputs(train_loader, held_out, live, recipe.batch_size, 1, CPU, world)
    leads = world is None or world.leads
    checkpoints = Checkpoints(StageFolder(folder), interval, writes=leads)
    member = Member(
        model=student,
        losses=build_losses(specs, REGISTRY, student, teachers, setup),
        recipe=recipe,
        steps=shared.steps,
        seed=1,
        best=False,
        device=CPU,
        execution=ExecutionConfig(),
        checkpoints=checkpoints,
        report=lambda progress: None,
        world=world,
    )
    return Cohort([member], shared, Clock(CPU))


def trained(cohort: Cohort) -> Member:
    train(cohort)
    for error in cohort.failures.values():
        raise error
    return cohort.members[0]


def difference(one: Member, other: Member) -> float:
    """The largest difference of any weight or buffer, as a share of the largest number in its tensor."""
    largest = 0.0
    for part in ("model", "losses"):
        pairs = zip(getattr(one, part).state_dict().items(), getattr(other, part).state_dict().values(), strict=True)
        for (_name, expected), actual in pairs:
            size = float(expected.double().abs().max()) if expected.numel() else 0.0
            moved = float((expected.double() - actual.double()).abs().max()) if expected.numel() else 0.0
            largest = max(largest, moved / max(size, ROUNDING))
    return largest


Case = Callable[[World | None], Cohort]


def cases(folder: Path) -> dict[str, Case]:
    """Every built-in loss, some at a time, and networks and loaders of other kinds."""

    def losses(names: Sequence[str]) -> Case:
        return lambda world: cohort_of(names, world, folder)

    return {
        **{f"losses {' '.join(group)}": losses(group) for group in groups()},
        "group normalisation": lambda world: cohort_of(["ce", "rkd"], world, folder, norm=group_norm),
        "dropout": lambda world: cohort_of(["ce", "mgd"], world, folder, dropout=0.3),
        "mixed images": lambda world: cohort_of(["ce"], world, folder, inputs=loaders(["mixup"])),
        "streamed images": lambda world: cohort_of(["ce", "sp"], world, folder, inputs=loaders(streaming=True)),
        "parts of batches": lambda world: cohort_of(
            ["ce", "rkd"], world, folder, batch_size=8, accumulate=2, clip_grad=0.5, ema=0.5
        ),
        "streamed parts of batches": lambda world: cohort_of(
            ["ce", "rkd"], world, folder, inputs=loaders(streaming=True), batch_size=8, accumulate=4
        ),
        "mixed streamed images": lambda world: cohort_of(
            ["ce"], world, folder, inputs=loaders(["mixup"], streaming=True)
        ),
    }


def groups() -> list[list[str]]:
    """All built-in losses but those of one process; one that replaces the student's classifier has none beside it."""
    needs = {name: REGISTRY.get("loss", name).needs for name in REGISTRY.offers["loss"]}
    names = sorted(name for name in needs if not {"pixels", "boxes", "second_view"} & needs[name])
    alone = [name for name in names if getattr(REGISTRY.get("loss", name).load(), "make_head", None) is not None]
    together = [name for name in names if name not in alone]
    return [*([name] for name in alone), *(together[first : first + GROUP] for first in range(0, len(together), GROUP))]


def compare(folder: Path, world: World, names: Sequence[str] = ()) -> dict[str, float]:
    """The differences by case, of the first process."""
    differences, chosen = {}, cases(folder)
    if names:
        single = {f"loss {name}": name for name in REGISTRY.offers["loss"]}
        chosen |= {
            case: lambda world, name=name: cohort_of(dict.fromkeys(["ce", name]), world, folder)
            for case, name in single.items()
        }
        chosen = {name: chosen[name] for name in names}
    for name, case in chosen.items():
        together = trained(case(world))
        both = together.curve
        if world.leads:
            cohort = case(None)
            alone = trained(cohort)
            differences[name] = difference(alone, together)
            terms = max(abs(a[key] - b[key]) for a, b in zip(alone.curve, both, strict=True) for key in a)
            differences[f"{name}: curve"] = terms
    return differences


def compare_evaluation(folder: Path, world: World) -> dict[str, float]:
    """Validation images that two processes see otherwise than one, and the difference of the embeddings' spread."""
    together, alone = (cohort_of(["ce"], each, folder) for each in (world, None))
    (first,), (second,) = together.members, alone.members
    hits = evaluate(together, [first], together.inputs.validation)[first]
    expected = evaluate(alone, [second], alone.inputs.validation)[second]
    spreads = [member.spread.measure() for member in (first, second)]
    for cohort, member in ((together, first), (alone, second)):
        predict(cohort, [member], cohort.inputs.validation, likely=True)
    likely = [member.likely.arrays() for member in (first, second)]
    assert 0 < expected.sum() < len(expected)
    return {
        "likely classes": float((likely[0][0] != likely[1][0]).sum()),
        "evaluation": float((hits != expected).sum()),
        "evaluation: spread": max(abs(a - b) for a, b in zip(*spreads, strict=True)),
    }


def compare_resumed(folder: Path, world: World) -> dict[str, float]:
    """A run of two processes that one goes on with, and the other way round, beside an undisturbed one."""
    names, differences = ["ce", "crd", "ofd"], {}
    for label, first, second in (("2 > 1", world, None), ("1 > 2", None, world)):
        if first is not None or world.leads:
            cohort = cohort_of(names, first, folder, interval=0)
            stop_after(cohort.members[0], 4)
            train(cohort)
        world.each(None)  # the checkpoint is there
        state = Checkpoints(StageFolder(folder), 0).load()
        assert state is not None
        assert (state["epoch"], state["step"]) == (1, 1), (state["epoch"], state["step"])
        if second is not None or world.leads:
            cohort = cohort_of(names, second, folder)
            cohort.members[0].state = state
            resumed = trained(cohort)
        if world.leads:
            differences[f"resumed {label}"] = difference(trained(cohort_of(names, None, folder)), resumed)
    return differences


def stop_after(member: Member, steps: int) -> None:
    """Breaks a member off in its step after so many; it has saved a checkpoint after each."""
    real, calls = member._step, []

    def step(*arguments: object) -> None:
        if len(calls) == steps:
            raise RuntimeError("broken off")
        calls.append(None)
        real(*arguments)

    member._step = step


def in_double() -> None:
    """All in float64, losses too."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    in_double()
    rank = 0 if (other := os.fork()) else 1
    own = folder / f"stage{rank if names else 0}"
    own.mkdir(exist_ok=True)
    code = 1
    try:
        world = World(Meeting(folder / "meeting", rank, 2), CPU)
        differences = compare(own, world, names)
        if not names:
            differences |= compare_evaluation(own, world) | compare_resumed(own, world)
        if world.leads:
            (folder / "differences.json").write_text(json.dumps(differences, indent=1))
        world.leave()
        code = 0
    finally:
        if not other:
            os._exit(code)
        os.waitpid(other, 0)


if __name__ == "__main__":
    main()
