"""Views that come again, and cached outputs, looked up by the image's index and the epoch's view."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.data import in_memory, streaming, transforms
from benchbench.data.batch import Batch
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.sources.common import ArrayImages
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform, bind_augmenters
from benchbench.specs.parts import ComponentSpec
from benchbench.training.cached_outputs import CachedTeacher, EmbeddingLoader

CPU = torch.device("cpu")
SIDE, VIEWS, CHUNK, BATCH = 12, 3, 8, 5
INDICES = np.arange(3, 26)  # 23 of 30 images
AUGMENT = [
    ComponentSpec(name="flip", params={"probability": 0.5}),
    ComponentSpec(name="random_crop", params={"padding": 3, "resize": None}),
]
FUNCTIONS = {"flip": flip, "random_crop": random_crop}
KINDS = ["in memory", "streamed", "streamed by processes"]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """So that there are several of them."""
    for module in (in_memory, streaming, transforms):
        monkeypatch.setattr(module, "VIEW_CHUNK", CHUNK)


def make_loader(kind, views=VIEWS, seed=0, indices=INDICES):
    random = np.random.RandomState(0)
    array = random.randint(0, 256, (30, SIDE, SIDE, 3), dtype=np.uint8)
    source = ImageDataset(random.randint(0, 4, 30), ("a", "b", "c", "d"), ArrayImages(array), array)
    transform = Transform(SIDE, None, bind_augmenters(AUGMENT, FUNCTIONS.__getitem__), views=views, view_seed=seed)
    if kind == "in memory":
        return InMemoryLoader(ImageSubset(source, indices), transform, CPU)
    return StreamingLoader(ImageSubset(source, indices), transform, CPU, 2 if "processes" in kind else 0)


def epoch_images(loader, epoch, seed=1, batch_size=BATCH, start=0) -> dict[int, torch.Tensor]:
    """The image that an epoch shows at each index."""
    batches = loader.train_batches(seed, epoch, batch_size, start)
    return {int(index): image for batch in batches for index, image in zip(batch.index, batch.images, strict=True)}


def view_images(loader, batch_size=BATCH, start=0) -> list[dict[int, torch.Tensor]]:
    """Every view of every image."""
    images: list[dict[int, torch.Tensor]] = []
    for batches in loader.view_batches(batch_size, start):
        images = images or [{} for _ in batches]
        for view, batch in zip(images, batches, strict=True):
            assert torch.equal(batch.index, batches[0].index)
            assert torch.equal(batch.labels, loader.labels[batch.index])
            view.update(zip(batch.index.tolist(), batch.images, strict=True))
    return images


def assert_equal(actual, expected):
    assert actual.keys() <= expected.keys()
    assert actual
    assert all(torch.equal(image, expected[index]) for index, image in actual.items())


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_shows_its_view_and_no_other(kind):
    loader = make_loader(kind)
    views = view_images(loader)
    assert len(views) == VIEWS
    assert all(list(view) == list(range(23)) for view in views)
    for epoch in range(VIEWS + 2):
        assert_equal(epoch_images(loader, epoch), views[epoch % VIEWS])


@pytest.mark.parametrize("kind", KINDS[:2])
def test_views_come_again_whatever_the_order(kind):
    loader = make_loader(kind)
    first, again = epoch_images(loader, 1, seed=1), epoch_images(make_loader(kind), 1 + VIEWS, seed=9, batch_size=7)
    assert list(first) != list(again)
    assert_equal({index: image for index, image in first.items() if index in again}, again)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_views_differ_from_one_another_and_between_seeds(kind):
    one, two, three = view_images(make_loader(kind))
    (other, *_) = view_images(make_loader(kind, seed=1))
    for first, second in ((one, two), (one, three), (two, three), (one, other)):
        same = sum(torch.equal(first[index], second[index]) for index in first)
        assert same < 23 / 4  # one flip and 49 places of a window
    assert_equal(view_images(make_loader(kind))[0], one)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_images_of_a_view_are_augmented_each_on_its_own(kind):
    loader = make_loader(kind, indices=np.full(20, 4))  # copies of one image
    for view in view_images(loader):
        assert len({image.numpy().tobytes() for image in view.values()}) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_views_are_drawn_from_the_middle_and_in_any_batches_alike(kind):
    loader = make_loader(kind)
    whole = view_images(loader)
    for start, batch_size in ((0, 64), (CHUNK, BATCH), (2 * CHUNK, 3)):
        parts = view_images(loader, batch_size, start)
        for part, view in zip(parts, whole, strict=True):
            assert list(part) == list(range(start, 23))
            assert_equal(part, view)


def test_a_later_start_shows_the_same():
    for kind in KINDS[:2]:
        loader = make_loader(kind)
        whole, tail = epoch_images(loader, 2), epoch_images(loader, 2, start=2)
        assert list(tail) == list(whole)[2 * BATCH :]
        assert_equal(tail, whole)


def test_no_image_is_decoded_twice():
    loader, decoded = make_loader("streamed"), []
    images, decode = loader.subset.images, loader.subset.images.image
    images.image = lambda index: decoded.append(index) or decode(index)
    assert len(view_images(loader)) == VIEWS
    assert decoded == INDICES.tolist()


def test_views_that_do_not_fit_are_drawn_again(monkeypatch):
    monkeypatch.setattr(in_memory, "resident_bytes", lambda device: 2 * 3 * SIDE**2 * 23)
    loader = make_loader("in memory")
    views = view_images(make_loader("in memory"))
    for epoch in (0, 1, 2, 1, 0):
        assert_equal(epoch_images(loader, epoch), views[epoch])
        assert len(loader._views) <= 2


@pytest.mark.parametrize("kind", KINDS[:2])
def test_without_views_every_epoch_is_augmented_afresh(kind):
    loader = make_loader(kind, views=None)
    first, later = epoch_images(loader, 0), epoch_images(loader, VIEWS)
    shared = first.keys() & later.keys()
    assert sum(torch.equal(first[index], later[index]) for index in shared) < len(shared) / 4


def a_batch(index, epoch) -> Batch:
    index = torch.tensor(index)
    return Batch(torch.zeros(len(index), 3, 2, 2), index % 4, index, epoch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cached_outputs_are_looked_up_by_view_and_index(dtype):
    """Value 100 * view + image; epochs below 0 are a first stage's."""
    embedding = (100 * torch.arange(VIEWS)[:, None, None] + torch.arange(6)[:, None]).expand(VIEWS, 6, 2).to(dtype)
    teacher = CachedTeacher(embedding + 0.5, embedding)
    for epoch, view in ((0.0, 0), (0.8, 0), (1.0, 1), (2.999, 2), (3.0, 0), (7.2, 1), (-1.0, 2), (-0.2, 2), (-3.0, 0)):
        outputs = teacher(a_batch([5, 0, 3], epoch), False)
        expected = 100.0 * view + torch.tensor([5.0, 0.0, 3.0])[:, None].expand(3, 2)
        assert torch.equal(outputs.embedding, expected)
        assert torch.equal(outputs.logits, expected + 0.5)
        assert outputs.features == []
        assert (outputs.embedding.dtype, outputs.logits.dtype) == (torch.float32, torch.float32)
    assert CachedTeacher(None, embedding)(a_batch([1], 0.0), False).logits is None


def test_writing_into_outputs_changes_nothing_in_the_cache():
    embedding = torch.rand(VIEWS, 6, 2)
    before, teacher = embedding.clone(), CachedTeacher(embedding, embedding)
    outputs = teacher(a_batch([0, 1], 0.0), False)
    outputs.embedding.zero_()
    outputs.logits.zero_()
    batch = next(EmbeddingLoader(embedding, torch.zeros(6, dtype=torch.int64)).train_batches(0, 0, 4, 0))
    batch.images.zero_()
    assert torch.equal(embedding, before)


def test_embeddings_stand_in_for_images():
    """The same order as images have, the epoch's view, and every image once for testing."""
    loader = make_loader("in memory")
    embedding = torch.rand(VIEWS, 23, 4)
    embeddings = EmbeddingLoader(embedding, loader.labels)
    for epoch in (0, 1, 4):
        for start in (0, 2):
            batches = list(embeddings.train_batches(1, epoch, BATCH, start))
            expected = list(loader.train_batches(1, epoch, BATCH, start))
            assert [batch.index.tolist() for batch in batches] == [batch.index.tolist() for batch in expected]
            for batch in batches:
                assert torch.equal(batch.images, embedding[epoch % VIEWS][batch.index])
                assert torch.equal(batch.labels, loader.labels[batch.index])
    flat = EmbeddingLoader(embedding[0], loader.labels)
    tested = list(flat.test_batches(7))
    assert torch.cat([batch.index for batch in tested]).tolist() == list(range(23))
    assert torch.equal(torch.cat([batch.images for batch in tested]), embedding[0])
    assert torch.equal(torch.cat([batch.labels for batch in tested]), loader.labels)


@pytest.mark.parametrize("kind", ["in memory", "streamed"])
def test_batches_have_their_index_on_the_host(kind):
    for batch in make_loader(kind).train_batches(0, 1, BATCH, 0):
        assert torch.equal(batch.host_index, batch.index)


def test_rows_on_the_host_are_read_by_the_index_of_the_host():
    """An index of another device would be asked for, and a GPU waited for: one without numbers cannot be asked."""
    teacher = CachedTeacher(torch.rand(VIEWS, 23, 4).half(), torch.rand(VIEWS, 23, 6).half())
    device = torch.device("meta")
    empty, host_index = torch.empty(2, device=device), torch.tensor([20, 3])
    batch = Batch(empty, empty, torch.empty(2, dtype=torch.int64, device=device), 1.5, host_index=host_index)
    outputs = teacher(batch, False)
    assert (outputs.logits.shape, outputs.embedding.shape) == ((2, 4), (2, 6))
    assert outputs.logits.device == outputs.embedding.device == device
    for batch in EmbeddingLoader(torch.rand(23, 6), torch.arange(23)).train_batches(0, 0, BATCH, 0):
        assert torch.equal(batch.host_index, batch.index)
