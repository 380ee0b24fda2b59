"""The stages that frozen networks and speed need: what a network says of the images, and how it is run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchbench.hardware.devices import Devices
from benchbench.plan.keys import identity
from benchbench.plan.resolve import Resolver
from benchbench.plan.source_hash import source_hash
from benchbench.suite.file import Loc
from benchbench.suite.schema import Recipe, Suite

# Fields of a recipe that say what a network is given and how it is run, and those of them that choose how.
INPUT_FIELDS = ("batch_size", "image_size", "eval_resize", "augment", "views")
EXECUTION_FIELDS = ("precision", "tolerance", "channels_last", "fold_bn", "compile")
# Fields that cells which train side by side need not share: each has its own optimiser.
OPTIMIZER_FIELDS = (
    "optimizer",
    "lr",
    "head_lr",
    "weight_decay",
    "momentum",
    "schedule",
    "milestones",
    "gamma",
    "warmup_epochs",
)

# Runs of fewer steps than this are never worth compiling for.
LONG = 10_000


@dataclass(frozen=True)
class FrozenNetwork:
    """A network that a stage runs.

    Attributes:
        label: for people.
        kind: "teacher" or "student".
        model: its job.
        state: the teacher's state, or "pretrained" for a student's frozen trunk; None where it trains.
    """

    label: str
    kind: str
    model: dict[str, Any]
    state: str | None


def cohort_key(job: Mapping[str, Any]) -> str | None:
    """The group of a cell: equal for cells that see the same batches, at the same time, and the same teachers."""
    if job["method"] in ("linear_probe", "published"):  # they have no batches to share
        return None
    same = {name: job[name] for name in ("data", "needs")}
    teachers = [{"model": each["model"], "adapt": each["adapt"]} for each in job["teachers"]]
    recipe = {name: value for name, value in job["recipe"].items() if name not in OPTIMIZER_FIELDS}
    text = json.dumps(identity({**same, "teachers": teachers, "recipe": recipe}), sort_keys=True)
    return with_data_seed(hashlib.sha256(text.encode()).hexdigest(), job["data_seed"])


def with_data_seed(group: str, data_seed: int) -> str:
    """The group of the same cells whose images come in the order of another seed."""
    return f"{group.partition(' ')[0]} {data_seed}"


class FrozenStages:
    """Makes "outputs" and "tuning" stages; `add` keeps each once."""

    def __init__(self, suite: Suite, resolver: Resolver, devices: Devices, add: Callable[..., str]):
        self.suite, self.resolver, self.devices, self.add = suite, resolver, devices, add
        self.outputs_code = source_hash("benchbench.stages.outputs")
        self.tuning_code = source_hash("benchbench.stages.tuning")

    def outputs(
        self,
        source: FrozenNetwork,
        stage: str | None,
        data: str,
        job: Mapping[str, Any],
        augmenters: tuple[Loc, Recipe],
        every_split: bool = False,
        made: Mapping[str, str] | None = None,
    ) -> str:
        """The stage that runs a frozen network once over every view of the training images.

        Args:
            source: the network.
            stage: key of the stage that adapted it; None where its weights are public ones.
            data: label of the data set.
            job: of the stage that asks: its data and its recipe.
            augmenters: the place of its augmenters in the suite, and its recipe.
            made: stages of the generated images that the job takes, by role.
            every_split: whether the validation and test images are asked for too, as a probe's head does.
        """
        used: dict[str, Any] = {}
        entry = self.suite.data[data]
        needs = {**({"teacher0": stage} if stage else {}), **(made or {})}
        recipe = self.resolver.recipe(augmenters[1], job["method"], augmenters[0], used)
        self.resolver.use(source.kind, source.model["source"], used)
        synthetic = {"synthetic": job["data"]["synthetic"]} if "synthetic" in job["data"] else {}
        views = {
            "data": self.resolver.data(entry, self.suite.selection, ("data", data), used) | synthetic,
            "view_seed": self.suite.view_seed,
            "teachers": [{"model": source.model, "kind": source.kind, "adapt": source.state}],
            "recipe": {name: recipe[name] for name in (*INPUT_FIELDS, *EXECUTION_FIELDS)},
            "splits": ["train", "validation", "test"] if every_split else ["train"],
            "components": used,
            "code": self.outputs_code,
            "needs": needs,
        }
        shown = f"what {source.label} says of {recipe['views']} views | {data}"
        return self.add("outputs", shown, views, needs, self.tuned("teacher0", source, recipe, 0))

    def judged(
        self,
        source: FrozenNetwork,
        stage: str | None,
        made: str,
        count: int,
        data: str,
        augmenters: tuple[Loc, Recipe],
        label: str,
    ) -> str:
        """The stage that keeps what a network says of every image of a generated set.

        Args:
            source, stage, data, augmenters: as for `outputs`.
            made: key of the stage that makes the set.
            count: images in it.
            label: for people.
        """
        used: dict[str, Any] = {}
        needs = {"synthetic": made, **({"teacher0": stage} if stage else {})}
        plain = augmenters[1].model_copy(update={"augment": [], "views": None})
        recipe = self.resolver.recipe(plain, "published", augmenters[0], used)
        self.resolver.use(source.kind, source.model["source"], used)
        job = {
            "data": self.resolver.data(self.suite.data[data], self.suite.selection, ("data", data), used),
            "view_seed": self.suite.view_seed,
            "teachers": [{"model": source.model, "kind": source.kind, "adapt": source.state}],
            "recipe": {name: recipe[name] for name in (*INPUT_FIELDS, *EXECUTION_FIELDS)},
            "splits": ["synthetic"],
            "images": count,
            "components": used,
            "code": self.outputs_code,
            "needs": needs,
        }
        return self.add("outputs", label, job, needs, self.tuned("teacher0", source, recipe, 0))

    def tuned(self, role: str, source: FrozenNetwork, recipe: Mapping[str, Any], steps: int) -> dict[str, str]:
        """By role, the stage that finds out how a network runs fastest here; none where nothing may be chosen."""
        if recipe["precision"] == "exact":
            return {}
        used: dict[str, Any] = {}
        self.resolver.use(source.kind, source.model["source"], used)
        job = {
            "model": {**source.model, "weights": None},
            "kind": source.kind,
            "trained": source.state is None,
            **{name: recipe[name] for name in ("batch_size", "image_size", *EXECUTION_FIELDS) if name != "tolerance"},
            # Compilation pays in long runs alone; their order of magnitude is enough to say so.
            "steps": 10 ** int(math.log10(steps)) if steps >= LONG else 0,
            "device": self.devices.name,
            "threads": self.devices.threads if self.devices.kind == "cpu" else None,
            "components": used,
            "code": self.tuning_code,
            "needs": {},
        }
        doing = "training" if source.state is None else "running"
        key = self.add("tuning", f"{doing} {source.label.split(' (')[0]} fast at {recipe['image_size']} px", job, {})
        return {f"tuning.{role}": key}
