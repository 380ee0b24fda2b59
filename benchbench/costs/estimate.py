"""What a plan will cost before it is run: images, and floating-point operations counted on the networks themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.models.cards import cards_for
from benchbench.plan import Plan, Stage
from benchbench.provenance import source_hash
from benchbench.suitefile import Loc

# A training step is one forward and about two forwards' worth of backward.
TRAINED, FORWARD = 3, 1


@dataclass(frozen=True)
class Estimate:
    """Predicted cost of one stage.

    Attributes:
        images: training images, over all epochs.
        flops: floating-point operations of training and of testing.
    """

    images: int
    flops: float


def estimate(plan: Plan) -> dict[str, Estimate]:
    """The predicted cost of every training stage of a plan, by key.

    Raises:
        SuiteError: a model that its source does not have, or that cannot be built; a loss that cannot work on it.
    """
    places = _places(plan)
    requests: dict[str, dict[str, Any]] = {}
    for key, stage in plan.stages.items():
        if stage.kind != "calibration":
            requests |= {f"{key}/{role}": request for role, request in _requests(stage).items()}
            if stage.job["teachers"]:
                requests[f"{key}/loss"] = _rehearsal(plan, stage, places[key]["data"][1])
    plugins = [Path(name) for name, origin in plan.host.origins.items() if name == origin]
    cards = cards_for(requests, plugins)
    for name, card in cards.items():
        key, _, role = name.partition("/")
        if "error" in card:
            raise plan.file.error(card["error"], places[key][role])
        if card.get("refused"):
            raise plan.file.error(card["refused"], places[key][role])
    return {
        key: _estimate(plan, stage, places[key]["data"][1], cards)
        for key, stage in plan.stages.items()
        if stage.kind != "calibration"
    }


def _places(plan: Plan) -> dict[str, dict[str, Loc]]:
    """Where in the suite each stage's model, teacher and data stand."""
    places: dict[str, dict[str, Loc]] = {}
    for cell in plan.cells:
        student, data = ("students", cell.student, "model"), ("data", cell.data)
        places[cell.stage] = {"model": student, "data": data, "loss": ("arms", cell.arm, "loss")}
        for number, teacher in enumerate(cell.teachers):
            role, place = f"teacher{number}", ("teachers", teacher, "model")
            places[cell.stage][role] = place
            if key := plan.stages[cell.stage].needs.get(role):
                places[key] = {"model": place, "data": data}
    return places


def _requests(stage: Stage) -> dict[str, dict[str, Any]]:
    """The networks of a stage, as `cards_for` wants them."""
    models = {"model": (stage.job["model"], stage.job["model_kind"])}
    for number, teacher in enumerate(stage.job["teachers"]):
        models[f"teacher{number}"] = (teacher["model"], "teacher")
    return {
        role: {
            "model": {**model, "weights": None},
            "kind": kind,
            "image_size": stage.job["recipe"]["image_size"],
            "source": stage.job["components"][f"{kind}/{model['source']}"],
            "code": source_hash("benchbench.models.cards"),
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
        "code": source_hash("benchbench.losses.rehearsal"),
    }


def _estimate(plan: Plan, stage: Stage, data: Any, cards: Mapping[str, dict[str, Any]]) -> Estimate:
    job, recipe = stage.job, stage.job["recipe"]
    count = plan.train_images(job["data"], data)
    batch = min(recipe["batch_size"], count)
    # A two-stage method's first stage is a parameter of its loss by that name.
    stated = [entry["params"].get("preparation", 0) for entry in job["loss"]]
    preparation = max((share for share in stated if isinstance(share, int | float)), default=0)
    epochs = recipe["epochs"] + math.ceil(round(preparation * recipe["epochs"], 9))  # as the training loop counts them
    images = max(1, count // batch) * batch * epochs
    forward = cards[f"{stage.key}/model"]["flops"]
    flops = images * forward * (FORWARD if job["method"] == "linear_probe" else TRAINED)
    flops += sum(images * cards[f"{stage.key}/teacher{number}"]["flops"] for number in range(len(job["teachers"])))
    tested = plan.info[data].test + plan.validation_images(job["data"], data) * recipe["epochs"]
    return Estimate(images, float(flops + tested * forward))
