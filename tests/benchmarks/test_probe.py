"""A linear probe on kept embeddings, against one that decodes every image and runs its trunk in every epoch."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.sources.bundled import load
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform
from benchbench.losses.multi_teacher import build_losses
from benchbench.models.probe import Probe
from benchbench.plugins import load_plugins
from benchbench.store import StageFolder
from benchbench.suite.schema import Recipe
from benchbench.training.cached_outputs import EmbeddingFeed
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.loop import Training

SIZE, BATCH, COUNT = 32, 64, 640
CPU = torch.device("cpu")


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def decode(files: list[bytes], index: int) -> Image.Image:
    return Image.open(io.BytesIO(files[index]))


def epoch(model, loader, tmp_path):
    """A function that trains the head for an epoch."""
    recipe = Recipe(epochs=1, batch_size=BATCH, image_size=SIZE).model_dump()
    entries = [{"name": "ce", "params": {"label_smoothing": 0.0}, "weight": 1.0}]
    losses = build_losses(entries, load_plugins().registry, model, [], [], recipe, loader.labels, CPU)
    training = Training(
        model=model,
        teachers=[],
        losses=losses,
        train=loader,
        validation=None,
        recipe=recipe,
        seed=0,
        best=False,
        device=CPU,
        checkpoints=Checkpoints(StageFolder(tmp_path), interval=1e9),
        report=lambda progress: None,
    )
    return lambda: training.run(None)


def test_kept_embeddings_against_decoding(benchmark, backbone, ratios, report, tmp_path):
    images = load(None, Path(), "train")
    files = [png(pixels) for pixels in images.array[:COUNT]]
    source = ImageDataset(images.labels[:COUNT], images.classes, partial(decode, files))
    trunk = backbone("cifar/resnet20").freeze(head=False)
    streamed = StreamingLoader(ImageSubset(source, np.arange(COUNT)), Transform(SIZE, None, ()), CPU, workers=0)
    with torch.no_grad():
        embedding = torch.cat([trunk(batch.images).embedding for batch in streamed.test_batches(BATCH)])
    kept = epoch(Probe(trunk), EmbeddingFeed(embedding, streamed.labels), tmp_path)
    decoding = epoch(trunk, streamed, tmp_path)
    report("probe on kept embeddings, times one that decodes", "cifar/resnet20", ratios(decoding, kept), 50)
    benchmark.pedantic(kept, rounds=3)
