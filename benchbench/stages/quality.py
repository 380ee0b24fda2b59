"""The stage that measures a set of generated images by one network's features and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchbench.data.loader import Loader
from benchbench.execution.network import ConfiguredModel
from benchbench.specs.records import NearestMetrics, Progress, QualityMetrics, QualityRecord
from benchbench.specs.stages import QualitySpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import SplitData
from benchbench.stages.float32 import float32_of
from benchbench.stages.networks import fingerprint, load_frozen, run_frozen, tuned
from benchbench.stages.timer import StageTimer
from benchbench.synthesis.quality import Nearest, frechet_distance, kernel_distance, manifold, nearest

LISTED = 20  # copies that a record names


def run(context: StageContext[QualitySpec]) -> StageResult:
    """Computes features of training, test and generated images, and the measures."""
    with float32_of(context):
        return _run(context)


def _run(context: StageContext[QualitySpec]) -> StageResult:
    spec, timer = context.spec, StageTimer(context)
    torch.set_num_threads(tuned(context, "teacher0").threads or context.threads)
    with timer.section("loading"):
        data = SplitData(context)
        model = load_frozen(context, spec.network, 0, len(data.classes))
        judge = fingerprint(model, spec.recipe.image_size)
        generated, test = data.synthetic(), data.test()
    with timer.section("setup"):
        network, execution = run_frozen(context, 0, model, data.train)
    with timer.section("features"):
        features = []
        for loader in (data.train, test, generated):
            features.append(_features(network, loader, spec.recipe.batch_size))
            context.report(Progress(done=len(features), total=4))
    with timer.section("measures"):
        metrics = _metrics(features[0], features[1], features[2], data.classes)
    record = QualityRecord(
        metrics=metrics,
        data=data.record,
        teachers=(judge,),
        execution={"teacher0": execution},
        cost=timer.cost(),
    )
    return StageResult(record)


@dataclass(frozen=True)
class _Features:
    """Embeddings [N, D], task logits [N, C] (None without a head) and labels [N] of every image, on the CPU."""

    embeddings: Tensor
    logits: Tensor | None
    labels: Tensor


@torch.no_grad()
def _features(network: ConfiguredModel, loader: Loader, batch_size: int) -> _Features:
    embeddings, logits = [], []
    for batch in loader.test_batches(batch_size):
        outputs = network(batch.images)
        embeddings.append(outputs.embedding.float().cpu())
        if outputs.logits is not None:
            logits.append(outputs.logits.float().cpu())
    return _Features(torch.cat(embeddings), torch.cat(logits) if logits else None, loader.labels.cpu())


def _metrics(train: _Features, test: _Features, generated: _Features, classes: Sequence[str]) -> QualityMetrics:
    real, features = train.embeddings, generated.embeddings
    kid, kid_std = kernel_distance(real, features)
    return QualityMetrics(
        images=len(features),
        real=len(real),
        dimensions=features.shape[1],
        fid=frechet_distance(real, features),
        kid=kid,
        kid_std=kid_std,
        **asdict(manifold(real, features)),
        **asdict(_agreement(generated, classes)),
        train=_nearest_metrics(nearest(real, features)),
        test=_nearest_metrics(nearest(test.embeddings, features)),
    )


@dataclass(frozen=True)
class _Agreement:
    """Shares of images in which the judge sees the class that was asked for, and its mean probability of that class."""

    agreement: float | None = None
    confidence: float | None = None
    agreement_by_class: dict[str, float] | None = None


def _agreement(generated: _Features, classes: Sequence[str]) -> _Agreement:
    logits, labels = generated.logits, generated.labels
    if logits is None:
        return _Agreement()
    agrees = logits.argmax(1) == labels
    probabilities = logits.softmax(1)[torch.arange(len(labels)), labels]
    by_class = {
        name: float(agrees[labels == label].float().mean())
        for label, name in enumerate(classes)
        if bool((labels == label).any())
    }
    return _Agreement(float(agrees.float().mean()), float(probabilities.mean()), by_class)


def _nearest_metrics(neighbours: Nearest) -> NearestMetrics:
    low, middle, high = neighbours.distances.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return NearestMetrics(
        quartiles=(low, middle, high),
        copies=len(neighbours.copies),
        named=tuple((int(index), int(neighbours.indices[index])) for index in neighbours.copies[:LISTED]),
    )
