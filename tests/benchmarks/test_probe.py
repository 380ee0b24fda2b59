"""A linear probe on cached embeddings, against one that decodes every image and runs its trunk in every epoch."""

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
from benchbench.models.probe import Probe
from benchbench.training.cached_outputs import EmbeddingLoader
from benchbench.training.cohort import SharedInputs
from tests.benchmarks.epochs import make_member, run_epochs
from tests.specs import loss_spec, recipe_spec

SIZE, BATCH, COUNT = 32, 64, 640
CPU = torch.device("cpu")


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def decode(files: list[bytes], index: int) -> Image.Image:
    return Image.open(io.BytesIO(files[index]))


def epoch(model, loader, folder):
    """A function that trains the head for an epoch."""
    inputs = SharedInputs(loader, None, [], BATCH, 0, CPU)
    recipe = recipe_spec(batch_size=BATCH, image_size=SIZE)
    member = make_member(model, [], [loss_spec(label_smoothing=0.0)], inputs, recipe, folder=folder)
    return lambda: run_epochs([member], inputs)


def test_cached_embeddings_against_decoding(benchmark, backbone, ratios, report, tmp_path):
    images = load(None, Path(), "train")
    files = [png(pixels) for pixels in images.array[:COUNT]]
    source = ImageDataset(images.labels[:COUNT], images.classes, partial(decode, files))
    trunk = backbone("cifar/resnet20").freeze(head=False)
    streamed = StreamingLoader(ImageSubset(source, np.arange(COUNT)), Transform(SIZE, None, ()), CPU, workers=0)
    with torch.no_grad():
        embedding = torch.cat([trunk(batch.images).embedding for batch in streamed.test_batches(BATCH)])
    cached = epoch(Probe(trunk), EmbeddingLoader(embedding, streamed.labels), tmp_path)
    decoding = epoch(trunk, streamed, tmp_path)
    report("probe on cached embeddings, times one that decodes", "cifar/resnet20", ratios(decoding, cached), 50)
    benchmark.pedantic(cached, rounds=3)
