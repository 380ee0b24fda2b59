"""Runs side by side end bit for bit as they would alone, whatever becomes of the others; and what each costs."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.transforms import Transform, bind_augmenters
from benchbench.errors import StageError
from benchbench.losses.multi_teacher import LossSetup, build_losses
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ComponentSpec, LossSpec
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort
from benchbench.training.loop import evaluate, train
from tests.specs import loss_spec
from tests.training.small import (
    BATCH,
    CLASSES,
    CPU,
    CRD,
    EPOCHS,
    SIDE,
    SIMCLR,
    EveryStep,
    Passing,
    Run,
    assert_same_end,
    coloured,
    make_run,
    small_recipe,
)

pytestmark = pytest.mark.whole_run
STEPS = 5
TRAIN, HELD_OUT = np.arange(22), np.arange(22, 40)  # 5 steps an epoch; the last 2 images are dropped
DATA_SEED = 11
FLIP = ComponentSpec(name="flip", params={"probability": 0.5})
CROP = ComponentSpec(name="random_crop", params={"padding": 1, "resize": None})
FUNCTIONS = {"flip": flip, "random_crop": random_crop}


class BoomError(Exception):
    pass


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return coloured(40)


def network(seed: int, width: int, dropout: float = 0.0) -> Backbone:
    """Two stages, whose maps are to be had."""
    seed_everything(seed, CPU)
    first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2), nn.BatchNorm2d(2 * width), nn.ReLU())
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))

    def with_features(images):
        maps = [first(images)]
        maps.append(second(maps[0]))
        return end(maps[1]), maps

    trunk = Trunk(
        nn.Sequential(first, second, end), 2 * width, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), with_features=with_features
    )
    return Backbone(trunk, CLASSES)


def teacher_network() -> Backbone:
    """Frozen, with batch statistics that are not the usual zeros and ones."""
    teacher = network(77, 5, dropout=0.5)
    for _ in range(3):
        teacher(torch.rand(4, 3, SIDE, SIDE))
    return teacher.freeze()


def two_stage(name: str, preparation: float) -> dict[str, Any]:
    return {"name": name, "params": {"preparation": preparation}, "weight": 1.0}


# Losses, students, seeds, optimisers and stages of all kinds; whatever all of a cohort have in common is not here.
MEMBERS: dict[str, dict[str, Any]] = {
    "plain": {"losses": ["ce"]},
    "dropout": {"losses": ["ce", "kd"], "dropout": 0.5},
    "another seed": {"losses": ["ce", "kd"], "dropout": 0.5, "seed": 2},
    "memory bank": {"losses": ["ce", CRD], "optimizer": "sgd", "schedule": "step", "milestones": [1]},
    "projector, wider, best": {"losses": ["ce", SIMCLR], "width": 4, "best": True, "warmup_epochs": 1},
    "maps": {"losses": ["ce", "at"], "lr": 0.1},
    "two stages": {"losses": ["ce", loss_spec("fitnets", preparation=0.5)], "optimizer": "sgd"},
    "a longer first stage": {"losses": ["ce", loss_spec("ab", preparation=0.7)]},
    "parts prepared": {"losses": ["ce", loss_spec("ft", preparation=0.1)], "dropout": 0.2},
}


def maker(registry, images: ImageDataset, folder: Path) -> Callable[..., Run]:
    """Makes members, each with a folder of its own; two have the same data and teachers, as equal objects."""
    count = 0

    def run(losses=("ce",), width=3, seed=1, dropout=0.0, best=False, start=0, checkpoints=None, **recipe) -> Run:
        nonlocal count
        count += 1
        specs = [complete(registry, loss if isinstance(loss, LossSpec) else loss_spec(loss)) for loss in losses]
        full = small_recipe(augment=(FLIP, CROP), **recipe)
        transform = Transform(SIDE, None, bind_augmenters(full.augment, FUNCTIONS.__getitem__))
        model, teacher = network(start, width, dropout), teacher_network()
        seed_everything(start + 1000, CPU)
        setup = LossSetup(torch.from_numpy(images.labels[TRAIN]), SIDE, full.epochs, CPU, (1.0,))
        return make_run(
            model,
            build_losses(specs, registry, model, [teacher], setup),
            full,
            tuple(InMemoryLoader(ImageSubset(images, indices), transform, CPU) for indices in (TRAIN, HELD_OUT)),
            StageFolder(folder / str(count)),
            teachers=[teacher],
            seed=seed,
            data_seed=DATA_SEED,
            best=best,
            checkpoints=checkpoints,
        )

    return run


@pytest.fixture
def make(registry, images, tmp_path) -> Callable[..., Run]:
    return maker(registry, images, tmp_path)


@pytest.fixture(scope="module")
def alone(registry, images, tmp_path_factory) -> Callable[..., dict[str, Run]]:
    """Members of these names that have been trained by themselves, once for all tests, which only compare with them."""
    make, runs = maker(registry, images, tmp_path_factory.mktemp("alone")), {}

    def trained(names=tuple(MEMBERS)) -> dict[str, Run]:
        for name in names:
            if name not in runs:
                runs[name] = make(**MEMBERS[name])
                runs[name].run()
        return {name: runs[name] for name in names}

    return trained


def complete(registry, loss: LossSpec) -> LossSpec:
    """The loss with its component's defaults."""
    params = registry.get("loss", loss.name).params(**loss.params)
    return loss.model_copy(update={"params": params.model_dump(mode="json")})


def cohort_of(members: Sequence[Run]) -> Cohort:
    """All of them on the first one's inputs."""
    return Cohort(members, members[0].inputs, Clock(CPU))


def together(members: dict[str, Run]) -> dict[str, Exception]:
    """Trains members side by side; the errors of those that failed."""
    cohort = cohort_of(list(members.values()))
    train(cohort)
    names = {member: name for name, member in members.items()}
    return {names[member]: error for member, error in cohort.failures.items()}


def test_each_ends_bit_for_bit_as_alone(make, alone):
    expected = alone()
    members = {name: make(**options) for name, options in MEMBERS.items()}
    torch.seed()
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])
    assert [len(member.curve) for member in members.values()] == [3, 3, 3, 3, 3, 3, 5, 6, 4]
    weights = {member.model.trunk[0][0].weight.detach().numpy().tobytes() for member in members.values()}
    assert len(weights) == len(MEMBERS)  # the cases are not one case


def test_the_order_of_the_members_does_not_matter(make, alone):
    names = ["dropout", "memory bank", "two stages", "projector, wider, best"]
    expected = alone(names)
    members = {name: make(**MEMBERS[name]) for name in reversed(names)}
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])


def test_members_from_different_checkpoints_catch_up(make, tmp_path):
    """From its start, a first stage, the middle and the end of epochs, and one that had been done."""
    saves = {
        "plain": 0,
        "two stages": 4,  # within the first stage
        "dropout": 3,  # after its fourth step
        "another seed": 5,  # between two epochs
        "memory bank": 14,
        "projector, wider, best": 8,
        "maps": 17,  # after the last epoch
        "a longer first stage": None,
    }
    expected, members = {}, {}
    for index, (name, save) in enumerate(saves.items()):
        folder = StageFolder(tmp_path / "every" / str(index))
        folder.path.mkdir(parents=True)
        every = EveryStep(folder)
        expected[name] = make(**MEMBERS[name], checkpoints=every)
        expected[name].run()
        # Other weights and projectors to begin with: all that counts is in the checkpoint.
        members[name] = make(**MEMBERS[name], start=0 if save is None else 50 + index)
        if save is not None:
            folder.checkpoint.write_bytes(list(every.files.values())[save])
            members[name].state = Checkpoints(folder, 1e9).load()
    states = [member.state for member in members.values() if member.state]
    assert len({(state["epoch"], state["step"]) for state in states}) == len(saves) - 1
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])


def breaking(member: Run, when: int, result: float | Exception) -> None:
    """From that call on, its losses are multiplied by a factor, or raise."""
    real, calls = member.losses.forward, 0

    def forward(*args):
        nonlocal calls
        calls += 1
        total, terms = real(*args)
        if calls < when:
            return total, terms
        if isinstance(result, Exception):
            raise result
        return total * result, terms

    member.losses.forward = forward


OTHERS = ["dropout", "memory bank", "two stages"]


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("when", [1, STEPS, STEPS + 2, EPOCHS * STEPS])
def test_one_that_raises_leaves_the_others(when, place, make, alone):
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in OTHERS}
    bad = make(**MEMBERS["plain"])
    breaking(bad, when, BoomError("no such thing"))
    items = list(members.items())
    items.insert(place, ("bad", bad))
    failed = together(dict(items))
    assert list(failed) == ["bad"]
    assert isinstance(failed["bad"], BoomError)
    assert not bad.done
    for name, member in members.items():
        assert_same_end(member, expected[name])


def test_one_that_runs_out_of_memory_gives_the_memory_of_its_step_back(make):
    activations = []

    def forward(student, teachers, batch):
        large = torch.zeros(8)
        activations.append(weakref.ref(large))
        raise MemoryError

    member = make()
    member.losses.forward = forward
    assert isinstance(together({"large": member})["large"], MemoryError)
    assert [each() for each in activations] == [None]


def test_one_whose_loss_is_not_finite_leaves_the_others(make, alone):
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in ["plain", *OTHERS]}
    breaking(members["plain"], STEPS + 2, float("nan"))
    failed = together(members)
    assert list(failed) == ["plain"]
    assert isinstance(failed["plain"], StageError)
    assert str(failed["plain"]).startswith("loss is nan in epoch 2 (terms: ")
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


def test_one_that_cannot_be_evaluated_leaves_the_others(make, alone):
    """It trains, and breaks in eval mode: at the end of the first epoch, and where all are tested."""
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in ["plain", *OTHERS]}

    def breaks(part, _given):
        if not part.training:
            raise BoomError

    hook = members["plain"].model.register_forward_pre_hook(breaks)
    failed = together(members)
    assert {name: type(error) for name, error in failed.items()} == {"plain": BoomError}
    assert members["plain"].position == (0, STEPS)
    for name in OTHERS:
        assert_same_end(members[name], expected[name])
    loader = members["dropout"].inputs.validation
    cohort = cohort_of([members["plain"], members["dropout"]])
    hits = evaluate(cohort, cohort.members, loader)
    assert {member: type(error) for member, error in cohort.failures.items()} == {members["plain"]: BoomError}
    assert list(hits) == [members["dropout"]]
    assert np.array_equal(hits[members["dropout"]], members["dropout"].hits())
    hook.remove()


def test_one_that_cannot_begin_or_be_saved_leaves_the_others(make, tmp_path, alone):
    expected = alone(OTHERS)
    members = {name: make(**MEMBERS[name]) for name in OTHERS}
    nowhere = Checkpoints(StageFolder(tmp_path / "not" / "there"), 0)
    members["unsaved"] = make(checkpoints=nowhere)
    members["unlike its checkpoint"] = make()
    other = make(width=4)
    other.begin()
    other.checkpoints = EveryStep(StageFolder(tmp_path))
    other.save()
    members["unlike its checkpoint"].state = Checkpoints(StageFolder(tmp_path), 1e9).load()
    failed = together(members)
    assert {name: type(error) for name, error in failed.items()} == {
        "unsaved": FileNotFoundError,
        "unlike its checkpoint": RuntimeError,
    }
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


@pytest.mark.parametrize("shared", ["images", "labels", "logits", "embedding"])
def test_one_that_writes_into_what_they_share_fails_before_it_harms_the_others(shared, make, alone):
    (expected,) = alone(["dropout"]).values()
    writer, other = make(["ce", "kd"]), make(**MEMBERS["dropout"])
    real = writer.losses.forward

    def forward(student, teachers, batch):
        getattr(teachers[0] if shared in ("logits", "embedding") else batch, shared).add_(1).remainder_(2)
        return real(student, teachers, batch)

    writer.losses.forward = forward
    failed = together({"writer": writer, "other": other})
    assert list(failed) == ["writer"]
    assert "writes into the batch or the teacher's outputs" in str(failed["writer"])
    assert_same_end(other, expected)


def test_the_leader_that_fails_is_followed_by_another(make, tmp_path):
    """The one that is behind leads; when it fails the others go on from where they are."""
    leader, follower, expected = make(), make(**MEMBERS["dropout"]), make(**MEMBERS["dropout"])
    folder = StageFolder(tmp_path)
    every = EveryStep(folder)
    expected.checkpoints = every
    expected.run()
    folder.checkpoint.write_bytes(every.files[0, 3])
    follower.state = Checkpoints(folder, 1e9).load()
    breaking(leader, 2, BoomError())
    assert list(together({"leader": leader, "follower": follower})) == ["leader"]
    assert_same_end(follower, expected)


def test_an_error_in_what_they_share_ends_them_all(make):
    members = {name: make(**MEMBERS[name]) for name in OTHERS}

    def teacher(batch, maps):
        raise BoomError

    for member in members.values():
        member.inputs = replace(member.inputs, teachers=[teacher])
    assert {type(error) for error in together(members).values()} == {BoomError}


def test_a_cohort_of_none_trains_nothing(make):
    cohort = Cohort([], make().inputs, Clock(CPU))
    train(cohort)
    assert cohort.failures == {}


def counted(member: Run) -> list[bool]:
    """The `maps` argument of each call of a member's teacher."""
    (real,), calls = member.inputs.teachers, []

    def teacher(batch, maps):
        calls.append(maps)
        return real(batch, maps)

    member.inputs = replace(member.inputs, teachers=[teacher])
    return calls


def test_the_teacher_is_run_once_a_batch_for_all(make):
    members = {name: make(**MEMBERS[name]) for name in ("dropout", "another seed", "memory bank")}
    calls = [counted(member) for member in members.values()]
    batches = []
    for member in members.values():
        real = member.inputs.train.train_batches
        member.inputs.train.train_batches = lambda *args, real=real: (
            batches.append(each.index) or each for each in real(*args)
        )
    together(members)
    assert sum(map(len, calls)) == len(batches) == EPOCHS * STEPS
    assert not any(itertools.chain(*calls))


def test_maps_are_asked_for_where_somebody_reads_them(make):
    members = {name: make(**MEMBERS[name]) for name in ("dropout", "maps")}
    calls = [counted(member) for member in members.values()]
    breaking(members["maps"], STEPS + 1, BoomError())
    together(members)
    flags = list(itertools.chain(*calls))
    # The sixth step is begun together; from then on nobody needs them.
    assert flags == [True] * (STEPS + 1) + [False] * (2 * STEPS - 1)


def slowed(make, passing, name, tmp_path) -> Run:
    """A member whose every part takes its own time."""
    folder = StageFolder(tmp_path / "slowed" / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    member = make(**MEMBERS[name], checkpoints=Checkpoints(folder, 0))
    passing.slow(member.inputs.train, "train_batches", 1)
    passing.slow(member.teachers[0], "forward", 100)
    passing.slow(member.losses, "forward", 10_000 * (1 + list(MEMBERS).index(name)))
    passing.slow(member.losses, "prepare", 7_000_000)
    passing.slow(member.inputs.validation, "test_batches", 10)
    passing.slow(member.checkpoints, "save", 1000)
    return member


def test_the_accounts_add_up(make, monkeypatch, tmp_path):
    """`here` of all is the time that has passed; `alone` is what each would have booked by itself."""
    names = ["plain", "dropout", "memory bank", "two stages"]
    passing = Passing(monkeypatch)
    by_itself = {name: slowed(make, passing, name, tmp_path) for name in names}
    for member in by_itself.values():
        member.run()
    began = passing.now
    members = {name: slowed(make, passing, name, tmp_path) for name in names}
    assert together(members) == {}
    elapsed = passing.now - began
    assert sum(sum(member.account.here.values()) for member in members.values()) == pytest.approx(elapsed, rel=1e-12)
    for name, member in members.items():
        assert member.account.alone == by_itself[name].account.here == by_itself[name].account.alone
    assert elapsed < sum(sum(member.account.alone.values()) for member in members.values())
    # The first stage of "two stages" is its alone; the rest is shared by four.
    here = {name: member.account.here for name, member in members.items()}
    assert here["plain"]["teacher"] == EPOCHS * STEPS * 100 / 4
    assert here["two stages"]["teacher"] == (2 * STEPS + EPOCHS * STEPS / 4) * 100
    assert here["plain"]["student"] == EPOCHS * STEPS * 10_000
    assert here["two stages"]["preparation"] == 2 * STEPS * 7_000_000


def test_a_member_that_fails_pays_no_longer(make, monkeypatch, tmp_path):
    passing = Passing(monkeypatch)
    members = {name: slowed(make, passing, name, tmp_path) for name in ("plain", "dropout")}
    breaking(members["plain"], STEPS + 1, BoomError())
    began = passing.now
    together(members)
    accounts = {name: member.account for name, member in members.items()}
    assert sum(sum(account.here.values()) for account in accounts.values()) == pytest.approx(passing.now - began)
    assert accounts["plain"].here["teacher"] == (STEPS + 1) * 100 / 2
    assert accounts["dropout"].here["teacher"] == (STEPS + 1) * 100 / 2 + (2 * STEPS - 1) * 100
    assert accounts["dropout"].alone["teacher"] == EPOCHS * STEPS * 100


def test_all_are_tested_on_the_same_batches(make):
    members = [make(**MEMBERS[name]) for name in ("plain", "projector, wider, best")]
    loader, indices = members[0].inputs.validation, []
    real = loader.test_batches
    loader.test_batches = lambda size: (indices.append(batch.index) or batch for batch in real(size))
    hits = evaluate(cohort_of(members), members, loader)
    assert torch.cat(indices).tolist() == list(range(len(HELD_OUT)))
    for member in members:
        with torch.no_grad():
            right = [member.model(batch.images).logits.argmax(1) == batch.labels for batch in real(BATCH)]
        assert np.array_equal(hits[member], torch.cat(right).numpy())
