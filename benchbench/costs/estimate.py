"""What a plan will cost before it is run: images, and floating-point operations counted on the networks themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.costs.flops import cards_for
from benchbench.plan.model import Plan, Stage
from benchbench.plan.source_hash import source_hash
from benchbench.suite.file import Loc

# A training step is one forward and about two forwards' worth of backward.
TRAINED = 3
# Kinds of stages that measure for a few seconds, whatever the suite asks for.
MEASURING = ("tuning", "calibration")
# Those whose operations are counted: they train or run networks that the suite names.
COUNTED = ("cell", "teacher", "outputs")


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of one stage.

    Attributes:
        images: training images, over all epochs.
        flops: floating-point operations of training and of testing.
    """

    images: int
    flops: float


def estimate(plan: Plan) -> dict[str, CostEstimate]:
    """The predicted cost of every training stage of a plan, by key.

    Raises:
        SuiteError: a model that its source does not have, or that cannot be built; a loss that cannot work on it.
    """
    places = places_of(plan)
    requests: dict[str, dict[str, Any]] = {}
    for key, stage in plan.stages.items():
        if stage.kind not in COUNTED:
            continue
        requests |= {f"{key}/{role}": request for role, request in _requests(stage).items()}
        if stage.kind == "cell" and stage.job["teachers"]:
            requests[f"{key}/loss"] = _rehearsal(plan, stage, places[key]["data"][1])
    plugins = [Path(name) for name, origin in plan.host.origins.items() if name == origin]
    cards = cards_for(requests, plugins)
    for name, card in cards.items():
        key, _, role = name.partition("/")
        if reason := card.get("error") or card.get("refused"):
            raise plan.file.error(reason, places[key][role])
    count = {"cell": _training, "teacher": _training, "outputs": _outputs}
    return {
        key: count[stage.kind](plan, stage, places[key]["data"][1], cards)
        for key, stage in plan.stages.items()
        if stage.kind in COUNTED
    }


def places_of(plan: Plan) -> dict[str, dict[str, Loc]]:
    """Where in the suite each stage's networks and data stand."""
    places: dict[str, dict[str, Loc]] = {}

    def note(key: str, data: Loc, networks: dict[str, Loc]) -> None:
        places[key] = {"data": data, **networks}
        for role, needed in plan.stages[key].needs.items():
            kind = plan.stages[needed].kind
            if kind not in COUNTED:
                continue
            if role == "judged":
                note(needed, data, {"teacher0": networks["judge"]})
                continue
            # A probe's features are its own network's; the outputs of a teacher are that teacher's.
            place: Loc = networks["model"] if role == "features" else networks[f"teacher{role[-1]}"]
            judge = {role: place for role, place in networks.items() if role == "judge"}
            note(needed, data, {"teacher0": place, **judge} if kind == "outputs" else {"model": place, **judge})

    for cell in plan.cells:
        teachers: dict[str, Loc] = {
            f"teacher{number}": ("teachers", teacher, "model") for number, teacher in enumerate(cell.teachers)
        }
        networks: dict[str, Loc] = {"model": ("students", cell.student, "model"), **teachers}
        use = plan.suite.arms[cell.arm].synthetic
        if use is not None and use.teacher is not None:
            networks["judge"] = ("teachers", use.teacher, "model")
        note(cell.stage, ("data", cell.data), {**networks, "loss": ("arms", cell.arm, "loss")})
    return places


def _requests(stage: Stage) -> dict[str, dict[str, Any]]:
    """The networks of a stage, as `cards_for` wants them."""
    models = {
        f"teacher{number}": (teacher["model"], teacher.get("kind", "teacher"))
        for number, teacher in enumerate(stage.job["teachers"])
    }
    if "model" in stage.job:
        models["model"] = (stage.job["model"], stage.job["model_kind"])
    return {
        role: {
            "model": {**model, "weights": None},
            "kind": kind,
            "image_size": stage.job["recipe"]["image_size"],
            "source": stage.job["components"][f"{kind}/{model['source']}"],
            "code": source_hash("benchbench.costs.flops"),
        }
        for role, (model, kind) in models.items()
    }


def _rehearsal(plan: Plan, stage: Stage, data: Any) -> dict[str, Any]:
    """A cell's networks and losses, as `cards_for` wants them."""
    job = stage.job
    return {
        "student": {**job["model"], "weights": None},
        "teachers": [
            {"model": {**teacher["model"], "weights": None}, "head": teacher["adapt"] != "pretrained"}
            for teacher in job["teachers"]
        ],
        "loss": job["loss"],
        "classes": plan.info[data].classes,
        "image_size": job["recipe"]["image_size"],
        "epochs": job["recipe"]["epochs"],
        "sources": job["components"],
        "code": source_hash("benchbench.costs.dry_run"),
    }


def trained_images(plan: Plan, stage: Stage, data: str) -> int:
    """Training images of a stage that trains, over all epochs."""
    job, recipe = stage.job, stage.job["recipe"]
    count = plan.train_images(job["data"], data)
    batch = min(recipe["batch_size"], count)
    # A two-stage method's first stage is a parameter of its loss by that name.
    stated = [entry["params"].get("preparation", 0) for entry in job["loss"]]
    preparation = max((share for share in stated if isinstance(share, int | float)), default=0)
    epochs = recipe["epochs"] + math.ceil(round(preparation * recipe["epochs"], 9))  # as the training loop counts them
    return max(1, count // batch) * batch * epochs


def tested_images(plan: Plan, stage: Stage, data: str) -> int:
    """Images of the test and of every look at the validation split."""
    return plan.info[data].test + plan.validation_images(stage.job["data"], data) * stage.job["recipe"]["epochs"]


def shown_images(plan: Plan, stage: Stage, data: str) -> tuple[int, int]:
    """Images that a stage shows a frozen network: views of those to train on, and others."""
    job = stage.job
    if "synthetic" in job["splits"]:
        return job["images"], 0
    others = plan.validation_images(job["data"], data) + plan.info[data].test if "test" in job["splits"] else 0
    return plan.train_images(job["data"], data) * job["recipe"]["views"], others


def _training(plan: Plan, stage: Stage, data: Any, cards: Mapping[str, dict[str, Any]]) -> CostEstimate:
    job, images, tested = stage.job, trained_images(plan, stage, data), tested_images(plan, stage, data)
    card = cards[f"{stage.key}/model"]
    if job["method"] == "linear_probe":  # its trunk runs in the stage that keeps what it says
        head = 2.0 * card["dim"] * plan.info[data].classes
        return CostEstimate(images, head * (TRAINED * images + tested))
    flops = images * card["flops"] * TRAINED
    for number in range(len(job["teachers"])):
        if f"outputs{number}" not in stage.needs:
            flops += images * cards[f"{stage.key}/teacher{number}"]["flops"]
    return CostEstimate(images, float(flops + tested * card["flops"]))


def _outputs(plan: Plan, stage: Stage, data: Any, cards: Mapping[str, dict[str, Any]]) -> CostEstimate:
    images, others = shown_images(plan, stage, data)
    return CostEstimate(images, float((images + others) * cards[f"{stage.key}/teacher0"]["flops"]))
