"""What finished stages that did the same work took, an image: the best word on what the next one will take.

The same work: the same networks, losses, augmenters, batches, resolution and precision on the same kind of device.
Seeds, epochs, learning rates, weights and the number of images do not change what an image costs. Stages on the same
data set count before those on others.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchbench.costs.estimate import COUNTED, TRAINED
from benchbench.errors import StoreError
from benchbench.plan.model import Plan, Stage
from benchbench.store import KEY_LENGTH, StageFolder, Store, read_json

GENERATING = ("diffusion", "synthesis")
KNOWN = (*COUNTED, *GENERATING)
# What of a recipe changes the cost of an image.
RECIPE = (
    *("batch_size", "image_size", "eval_resize", "augment", "views", "mix", "optimizer"),
    *("precision", "channels_last", "fold_bn", "compile"),
)
# What of a stage's data says how many images there are, or where they lie, and nothing of what one costs.
AMOUNT = ("place", "fraction", "per_class", "subset_seed", "validation")
# What of a generator's parameters says how much it does, or what of.
ASKED = ("train_steps", "prompts")
# What does not grow with the images.
FIXED = ("setup", "compile")
# Most stages that a pace is the mean of, and most that are looked at of those that are not in the plan.
SAMPLE, OTHERS = 8, 200


# What a stage does to an image, and to images of which data set.
Work = tuple[str, str]
Places = dict[Work, list[tuple[StageFolder, Mapping[str, Any]]]]


@dataclass(frozen=True)
class Pace:
    """Device-hours of a kind of work.

    Attributes:
        fixed: of a stage, however much it does.
        unit: of an image that is trained on (testing one is a third of that), shown to a frozen network or generated;
            of a step that trains a generator.
        stages: how many it is the mean of.
    """

    fixed: float
    unit: float
    stages: int

    def hours(self, units: float) -> float:
        return self.fixed + self.unit * units


class Experience:
    """The paces of work that a store has finished stages of, as it was when each was first asked for."""

    def __init__(self, plan: Plan, store: Store):
        self._plan, self._store = plan, store
        self._paces: dict[Work, Pace | None] = {}
        self._own: Places = defaultdict(list)
        for key, stage in plan.stages.items():
            if stage.kind in KNOWN:
                self._own[_work(stage.kind, stage.job)].append((store.stage(stage.kind, key), stage.job))
        self._others: Places | None = None

    def pace(self, stage: Stage) -> Pace | None:
        """The mean of stages like this one; None where none is finished on this device."""
        work = _work(stage.kind, stage.job)
        if work not in self._paces:
            self._paces[work] = self._mean(stage.kind, work, True) or self._mean(stage.kind, work, False)
        return self._paces[work]

    def _mean(self, kind: str, work: Work, same_data: bool) -> Pace | None:
        found: list[Pace] = []
        for folder, job in self._places(work, same_data):
            pace = self._measured(kind, folder, job)
            if pace is not None:
                found.append(pace)
            if len(found) == SAMPLE:
                break
        if not found:
            return None
        n = len(found)
        return Pace(sum(each.fixed for each in found) / n, sum(each.unit for each in found) / n, n)

    def _places(self, work: Work, same_data: bool) -> Iterator[tuple[StageFolder, Mapping[str, Any]]]:
        """Stages that do the same work: the plan's own first."""
        yield from _alike(self._own, work, same_data)
        if self._others is None:
            self._others = _newest(self._store, {key[:KEY_LENGTH] for key in self._plan.stages})
        yield from _alike(self._others, work, same_data)

    def _measured(self, kind: str, folder: StageFolder, job: Mapping[str, Any]) -> Pace | None:
        """What a finished stage says; None of one that is not finished here, or that cannot be read."""
        try:
            record = folder.done()
            if record is None:
                return None
            cost, devices = record["cost"], self._plan.devices
            if (record["environment"]["device"], cost["unit"]) != (devices.name, devices.unit):
                return None
            units = _units(kind, record, job)
            fixed = sum(cost["alone_seconds"].get(name, 0.0) for name in FIXED) * cost["devices"] / 3600
            return Pace(fixed, (cost["alone_device_hours"] - fixed) / units, 1) if units else None
        except (StoreError, KeyError, TypeError, ValueError, AttributeError):
            return None


def _work(kind: str, job: Mapping[str, Any]) -> Work:
    """What a stage does to an image, and to images of which data set."""
    data = {name: value for name, value in job["data"].items() if name not in AMOUNT}
    if kind in GENERATING:
        params = {name: value for name, value in job["generator"]["params"].items() if name not in ASKED}
        return _text([kind, job["generator"]["name"], params, job.get("size")]), _text(data)
    recipe = job["recipe"]
    done = {
        "kind": kind,
        "method": job.get("method"),
        "model": _network(job["model"]) if "model" in job else None,
        "teachers": [
            {"model": _network(teacher["model"]), "kept": f"outputs{number}" in job["needs"]}
            for number, teacher in enumerate(job["teachers"])
        ],
        "loss": [{name: entry[name] for name in ("name", "params")} for entry in job.get("loss", ())],
        "recipe": {name: recipe.get(name) for name in RECIPE},
    }
    return _text(done), _text(data)


def _network(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model.items() if name not in ("weights", "mean", "std")}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _alike(places: Places, work: Work, same_data: bool) -> Iterable[tuple[StageFolder, Mapping[str, Any]]]:
    if same_data:
        return places.get(work, ())
    return (place for (done, _), each in places.items() if done == work[0] for place in each)


def _newest(store: Store, known: set[str]) -> Places:
    """The newest finished stages of other plans, by what they do."""
    found: Places = defaultdict(list)
    for kind in KNOWN:
        try:
            with os.scandir(store.root / kind) as entries:  # tens of thousands, perhaps
                names = sorted((entry.stat().st_mtime, entry.name) for entry in entries if entry.name not in known)
        except OSError:
            continue
        folders = (store.stage(kind, name) for _, name in reversed(names))
        for folder in itertools.islice((each for each in folders if each.record.exists()), OTHERS):
            try:
                job = read_json(folder.spec)["job"]
                found[_work(kind, job)].append((folder, job))
            except (StoreError, KeyError, TypeError, AttributeError):  # of another version, or damaged
                continue
    return found


def _units(kind: str, record: Mapping[str, Any], job: Mapping[str, Any]) -> float:
    """What a stage has done, in what its pace is counted in."""
    metrics, data = record["metrics"], record["data"]
    if kind == "diffusion":
        return metrics["steps"]
    if kind == "synthesis":
        return metrics["images"]
    if kind == "outputs":
        if "synthetic" in job["splits"]:
            return job["images"]
        others = data["validation"] + data["test"] if "test" in job["splits"] else 0
        return metrics["images"] * metrics["views"] + others
    looked = data["validation"] * job["recipe"]["epochs"]
    return record["cost"]["images"] + (metrics["test_count"] + looked) / TRAINED
