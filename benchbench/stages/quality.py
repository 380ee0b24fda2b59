"""The stage that judges a set of generated images by one network's features, and by what that network sees in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchbench.data.loader import Loader
from benchbench.execution.network import ConfiguredModel
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.stages.data import SplitData
from benchbench.stages.networks import fingerprint, load_frozen, run_frozen, tuned
from benchbench.synthesis.quality import Nearest, frechet_distance, kernel_distance, manifold, nearest
from benchbench.training.clock import Account, Clock

LISTED = 20  # copies that a record names


def run(context: StageContext) -> dict[str, Any]:
    """Computes features of training, test and generated images, and the measures; gives the stage's record."""
    job, device = context.job, torch.device(context.device)
    torch.set_num_threads(tuned(context, "teacher0").threads or context.threads)
    clock, account = Clock(device), Account()
    with clock.section("loading", account):
        data = SplitData(context, device)
        model = load_frozen(context, 0, len(data.classes), device)
        which = fingerprint(model, job["recipe"]["image_size"])
        made, test = data.synthetic(), data.test()
    with clock.section("setup", account):
        network, how = run_frozen(context, 0, model, device, data.train)
    size = job["recipe"]["batch_size"]
    with clock.section("features", account):
        real, _ = _features(network, data.train, size)
        context.report({"done": 1, "total": 4})
        tested, _ = _features(network, test, size)
        context.report({"done": 2, "total": 4})
        features, logits = _features(network, made, size)
        context.report({"done": 3, "total": 4})
    labels = made.labels.cpu()
    with clock.section("measures", account):
        kid, spread = kernel_distance(real, features)
        found: dict[str, Any] = {
            "images": len(labels),
            "real": len(real),
            "dimensions": features.shape[1],
            "fid": frechet_distance(real, features),
            "kid": kid,
            "kid_std": spread,
            **asdict(manifold(real, features)),
            **_agreement(logits, labels, data.classes),
            "train": _told(nearest(real, features)),
            "test": _told(nearest(tested, features)),
        }
    clock.settle()
    held = context.held if device.type == "cuda" else torch.get_num_threads()
    return {
        "metrics": found,
        "cost": cost_of(account, device, held, context.unit),
        "data": data.described,
        "execution": {"teacher0": how},
        "teachers": [which],
        "weights_sha256": None,
    }


@torch.no_grad()
def _features(network: ConfiguredModel, loader: Loader, size: int) -> tuple[Tensor, Tensor | None]:
    """Embeddings [N, D] and task logits [N, C] (where there is a head) of every image, on the CPU."""
    embeddings, logits = [], []
    for batch in loader.test_batches(size):
        said = network(batch.images)
        embeddings.append(said.embedding.float().cpu())
        if said.logits is not None:
            logits.append(said.logits.float().cpu())
    return torch.cat(embeddings), torch.cat(logits) if logits else None


def _agreement(logits: Tensor | None, labels: Tensor, classes: Any) -> dict[str, Any]:
    """How often the judge sees the class that was asked for, and how sure it is of it."""
    if logits is None:
        return {"agreement": None, "confidence": None, "agreement_by_class": None}
    agrees = logits.argmax(1) == labels
    sure = logits.softmax(1)[torch.arange(len(labels)), labels]
    by_class = {
        name: float(agrees[labels == number].float().mean())
        for number, name in enumerate(classes)
        if bool((labels == number).any())
    }
    return {
        "agreement": float(agrees.float().mean()),
        "confidence": float(sure.mean()),
        "agreement_by_class": by_class,
    }


def _told(found: Nearest) -> dict[str, Any]:
    """Quartiles of the distances, and copies: their number in the set, and that of the real image."""
    low, middle, high = found.distances.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    named = [[int(place), int(found.places[place])] for place in found.copies[:LISTED]]
    return {"quartiles": [low, middle, high], "copies": len(found.copies), "named": named}
