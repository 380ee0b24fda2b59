"""Runs side by side end bit for bit as they would alone, whatever becomes of the others; and what each costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
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
from benchbench.losses.multi_teacher import build_losses
from benchbench.models.backbone import Backbone, Trunk
from benchbench.plugins import load_plugins
from benchbench.store import StageFolder
from benchbench.suite.schema import Recipe
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import evaluate, run_together
from benchbench.training.loop import Training
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
    assert_same_end,
    coloured,
)

STEPS = 5
TRAIN, HELD = np.arange(22), np.arange(22, 40)  # 5 steps an epoch, and 2 images that sit out
DATA_SEED = 11
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
    torch.manual_seed(seed)
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


# Losses, students, seeds, optimisers and stages of all kinds; whatever all of a group have in common is not here.
MEMBERS: dict[str, dict[str, Any]] = {
    "plain": {"losses": ["ce"]},
    "dropout": {"losses": ["ce", "kd"], "dropout": 0.5},
    "another seed": {"losses": ["ce", "kd"], "dropout": 0.5, "seed": 2},
    "memory bank": {"losses": ["ce", CRD], "optimizer": "sgd", "schedule": "step", "milestones": [1]},
    "projector, wider, best": {"losses": ["ce", SIMCLR], "width": 4, "best": True, "warmup_epochs": 1},
    "maps": {"losses": ["ce", "at"], "lr": 0.1},
    "two stages": {"losses": ["ce", two_stage("fitnets", 0.5)], "optimizer": "sgd"},
    "a longer first stage": {"losses": ["ce", two_stage("ab", 0.7)]},
    "parts prepared": {"losses": ["ce", two_stage("ft", 0.1)], "dropout": 0.2},
}


@pytest.fixture
def make(registry, images, tmp_path) -> Callable[..., Training]:
    """One member; two have the same data and teachers, as equal objects and not the same ones."""
    count = 0

    def training(
        losses=("ce",), width=3, seed=1, dropout=0.0, best=False, start=0, checkpoints=None, **recipe
    ) -> Training:
        nonlocal count
        count += 1
        entries = [
            entry if isinstance(entry, dict) else {"name": entry, "params": {}, "weight": 1.0} for entry in losses
        ]
        entries = [entry | {"params": defaults(registry, entry) | entry["params"]} for entry in entries]
        full = Recipe(**({"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "lr": 0.02} | recipe))
        full = full.model_dump(mode="json")
        full["augment"] = [
            {"name": "flip", "params": {"probability": 0.5}},
            {"name": "random_crop", "params": {"padding": 1, "resize": None}},
        ]
        pipeline = Transform(SIDE, None, bind_augmenters(full, FUNCTIONS.__getitem__))
        model, teacher = network(start, width, dropout), teacher_network()
        torch.manual_seed(start + 1000)
        labels = torch.from_numpy(images.labels[TRAIN])
        return Training(
            model=model,
            teachers=[teacher],
            losses=build_losses(entries, registry, model, [teacher], [1.0], full, labels, CPU),
            train=InMemoryLoader(ImageSubset(images, TRAIN), pipeline, CPU),
            validation=InMemoryLoader(ImageSubset(images, HELD), pipeline, CPU),
            recipe=full,
            seed=seed,
            best=best,
            device=CPU,
            checkpoints=checkpoints or Checkpoints(StageFolder(tmp_path / str(count)), 1e9),
            report=lambda progress: None,
            data_seed=DATA_SEED,
        )

    return training


def defaults(registry, entry) -> dict[str, Any]:
    return registry.get("loss", entry["name"]).params().model_dump(mode="json")


def alone(make, names=MEMBERS) -> dict[str, Training]:
    found = {name: make(**MEMBERS[name]) for name in names}
    for member in found.values():
        member.run(None)
    return found


def together(members: dict[str, Training], states=None):
    failed = run_together(list(members.values()), states or [None] * len(members), Clock(CPU))
    return {name: failed[member] for name, member in members.items() if member in failed}


def test_each_ends_bit_for_bit_as_alone(make):
    expected = alone(make)
    members = {name: make(**options) for name, options in MEMBERS.items()}
    torch.seed()
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])
    assert [len(member.curve) for member in members.values()] == [3, 3, 3, 3, 3, 3, 5, 6, 4]
    weights = {member.model.trunk[0][0].weight.detach().numpy().tobytes() for member in members.values()}
    assert len(weights) == len(MEMBERS)  # the cases are not one case


def test_the_order_of_the_members_does_not_matter(make):
    names = ["dropout", "memory bank", "two stages", "projector, wider, best"]
    expected = alone(make, names)
    members = {name: make(**MEMBERS[name]) for name in reversed(names)}
    assert together(members) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])


def test_members_from_different_checkpoints_catch_up(make, tmp_path):
    """From its start, a first stage, the middle and the end of epochs, and one that had been done."""
    places = {
        "plain": 0,
        "two stages": 4,  # within the first stage
        "dropout": 3,  # after its fourth step
        "another seed": 5,  # between two epochs
        "memory bank": 14,
        "projector, wider, best": 8,
        "maps": 17,  # after the last epoch
        "a longer first stage": None,
    }
    expected, members, states = {}, {}, []
    for number, (name, place) in enumerate(places.items()):
        folder = StageFolder(tmp_path / "kept" / str(number))
        folder.path.mkdir(parents=True)
        kept = EveryStep(folder)
        expected[name] = make(**MEMBERS[name], checkpoints=kept)
        expected[name].run(None)
        # Other weights and projectors to begin with: all that counts is in the checkpoint.
        members[name] = make(**MEMBERS[name], start=0 if place is None else 50 + number)
        states.append(None)
        if place is not None:
            folder.checkpoint.write_bytes(list(kept.kept.values())[place])
            states[-1] = Checkpoints(folder, 1e9).load()
    assert len({(state["epoch"], state["step"]) for state in states if state}) == len(places) - 1
    assert together(members, states) == {}
    for name, member in members.items():
        assert_same_end(member, expected[name])


def breaking(member: Training, when: int, result: float | Exception) -> None:
    """From that call of its losses on, they give a factor or raise."""
    real, calls = member.losses.forward, 0

    def forward(*given):
        nonlocal calls
        calls += 1
        total, terms = real(*given)
        if calls < when:
            return total, terms
        if isinstance(result, Exception):
            raise result
        return total * result, terms

    member.losses.forward = forward


OTHERS = ["dropout", "memory bank", "two stages"]


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("when", [1, STEPS, STEPS + 2, EPOCHS * STEPS])
def test_one_that_raises_leaves_the_others(when, place, make):
    expected = alone(make, OTHERS)
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


def test_one_whose_loss_is_not_finite_leaves_the_others(make):
    expected = alone(make, OTHERS)
    members = {name: make(**MEMBERS[name]) for name in ["plain", *OTHERS]}
    breaking(members["plain"], STEPS + 2, float("nan"))
    failed = together(members)
    assert list(failed) == ["plain"]
    assert isinstance(failed["plain"], StageError)
    assert str(failed["plain"]).startswith("loss is nan in epoch 2 (terms: ")
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


def test_one_that_cannot_be_evaluated_leaves_the_others(make):
    """It trains, and breaks in eval mode: at the end of the first epoch, and where all are tested."""
    expected = alone(make, OTHERS)
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
    loader = members["dropout"].validation
    found = evaluate([members["plain"], members["dropout"]], loader, Clock(CPU))
    assert isinstance(found[0], BoomError)
    assert np.array_equal(found[1], evaluate([members["dropout"]], loader, Clock(CPU))[0])
    hook.remove()


def test_one_that_cannot_begin_or_be_saved_leaves_the_others(make, tmp_path):
    expected = alone(make, OTHERS)
    members = {name: make(**MEMBERS[name]) for name in OTHERS}
    nowhere = Checkpoints(StageFolder(tmp_path / "not" / "there"), 0)
    members["unsaved"] = make(checkpoints=nowhere)
    members["unlike its checkpoint"] = make()
    other = make(width=4)
    other.begin(None)
    kept = EveryStep(StageFolder(tmp_path))
    other.checkpoints = kept
    other.save()
    state = Checkpoints(StageFolder(tmp_path), 1e9).load()
    failed = together(members, [*[None] * len(OTHERS), None, state])
    assert {name: type(error) for name, error in failed.items()} == {
        "unsaved": FileNotFoundError,
        "unlike its checkpoint": RuntimeError,
    }
    for name in OTHERS:
        assert_same_end(members[name], expected[name])


@pytest.mark.parametrize("shared", ["images", "labels", "logits", "embedding"])
def test_one_that_writes_into_what_they_share_fails_before_it_harms_the_others(shared, make):
    (expected,) = alone(make, ["dropout"]).values()
    writer, other = make(["ce", "kd"]), make(**MEMBERS["dropout"])
    real = writer.losses.forward

    def forward(student, taught, batch):
        getattr(taught[0] if shared in ("logits", "embedding") else batch, shared).add_(1).remainder_(2)
        return real(student, taught, batch)

    writer.losses.forward = forward
    failed = together({"writer": writer, "other": other})
    assert list(failed) == ["writer"]
    assert "writes into the batch or the teacher's outputs" in str(failed["writer"])
    assert_same_end(other, expected)


def test_the_leader_that_fails_is_followed_by_another(make):
    """The one that is behind leads; when it fails the others go on from where they are."""
    leader, follower, expected = make(), make(**MEMBERS["dropout"]), make(**MEMBERS["dropout"])
    expected.run(None)
    follower.begin(None)
    state = None

    class Keeping(Checkpoints):
        def save(self, given):
            nonlocal state
            if given["step"] == 3 and state is None:
                super().save(given)
                state = self.load()

    ahead = make(**MEMBERS["dropout"])
    (ahead.checkpoints.folder.path).mkdir()
    ahead.checkpoints = Keeping(ahead.checkpoints.folder, 0)
    ahead.run(None)
    breaking(leader, 2, BoomError())
    assert list(together({"leader": leader, "follower": follower}, [None, state])) == ["leader"]
    assert_same_end(follower, expected)


def test_what_they_share_is_everybody_s_failure(make):
    members = {name: make(**MEMBERS[name]) for name in OTHERS}

    def teach(batch, maps):
        raise BoomError

    for member in members.values():
        member.teach = [teach]
    assert {type(error) for error in together(members).values()} == {BoomError}


def test_nobody_is_no_cohort():
    assert run_together([], [], Clock(CPU)) == {}


def counted(member: Training) -> list[bool]:
    """Whether maps were asked for, at each of a member's calls of its teacher."""
    (real,), calls = member.teach, []

    def teach(batch, maps):
        calls.append(maps)
        return real(batch, maps)

    member.teach = [teach]
    return calls


def test_the_teacher_is_run_once_a_batch_for_all(make):
    members = {name: make(**MEMBERS[name]) for name in ("dropout", "another seed", "memory bank")}
    calls = [counted(member) for member in members.values()]
    batches = []
    for member in members.values():
        real = member.train.train_batches
        member.train.train_batches = lambda *given, real=real: (
            batches.append(each.index) or each for each in real(*given)
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


def slowed(make, passing, name, tmp_path) -> Training:
    """A member whose every part takes its own time."""
    folder = StageFolder(tmp_path / "slowed" / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    member = make(**MEMBERS[name], checkpoints=Checkpoints(folder, 0))
    passing.slow(member.train, "train_batches", 1)
    (member.teach,) = ([member.teach[0]],)
    passing.slow(member.teachers[0], "forward", 100)
    passing.slow(member.losses, "forward", 10_000 * (1 + list(MEMBERS).index(name)))
    passing.slow(member.losses, "prepare", 7_000_000)
    passing.slow(member.validation, "test_batches", 10)
    passing.slow(member.checkpoints, "save", 1000)
    return member


def test_the_accounts_add_up(make, monkeypatch, tmp_path):
    """`here` of all is the time that has passed; `alone` is what each would have booked by itself."""
    names = ["plain", "dropout", "memory bank", "two stages"]
    passing = Passing(monkeypatch)
    by_itself = {name: slowed(make, passing, name, tmp_path) for name in names}
    for member in by_itself.values():
        member.run(None)
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
    loader, shown = members[0].validation, []
    real = loader.test_batches
    loader.test_batches = lambda size: (shown.append(batch.index) or batch for batch in real(size))
    found = evaluate(members, loader, Clock(CPU))
    assert torch.cat(shown).tolist() == list(range(len(HELD)))
    for member, answers in zip(members, found, strict=True):
        with torch.no_grad():
            right = [member.model(batch.images).logits.argmax(1) == batch.labels for batch in real(BATCH)]
        assert np.array_equal(answers, torch.cat(right).numpy())
