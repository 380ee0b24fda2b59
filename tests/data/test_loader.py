"""Images on their way to the model: order, resumption, augmentation, loader processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from benchbench.augmenters.geometric import flip, random_crop, random_resized_crop
from benchbench.augmenters.mixing import cutmix, mixup
from benchbench.data import loader as loading
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.loader import make_loader
from benchbench.data.order import steps_per_epoch
from benchbench.data.sources.common import ArrayImages, FileImages
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform, bind_augmenters, bind_mixers
from benchbench.errors import DataError, clear_frames
from benchbench.seeds import derive, generator
from benchbench.specs.parts import ComponentSpec

CPU = torch.device("cpu")
SIDE = 12
INDICES = np.arange(3, 26)  # 23 of 30 images
AUGMENT = [
    ComponentSpec(name="flip", params={"probability": 0.5}),
    ComponentSpec(name="random_crop", params={"padding": 2, "resize": None}),
]
CROP = ComponentSpec(
    name="random_resized_crop", params={"min_scale": 0.08, "max_scale": 1.0, "min_ratio": 0.75, "max_ratio": 1.33}
)
MIXES = [ComponentSpec(name=name, params={"alpha": 1.0, "probability": 1.0}) for name in ("mixup", "cutmix")]
FUNCTIONS = {
    "flip": flip,
    "random_crop": random_crop,
    "random_resized_crop": random_resized_crop,
    "mixup": mixup,
    "cutmix": cutmix,
}
AUGMENTED = Transform(SIDE, None, bind_augmenters(AUGMENT, FUNCTIONS.__getitem__))
CROPPED = Transform(SIDE, None, bind_augmenters([CROP], FUNCTIONS.__getitem__))
PLAIN = Transform(SIDE, None, [])
KINDS = ["resident", "streamed"]


def images(height=SIDE, width=SIDE) -> ImageDataset:
    random = np.random.RandomState(0)
    array = random.randint(0, 256, (30, height, width, 3), dtype=np.uint8)
    return ImageDataset(random.randint(0, 4, 30), ("a", "b", "c", "d"), ArrayImages(array), array)


def loader(kind, transform=AUGMENTED, source=None, indices=INDICES, workers=0):
    source = source or images()
    if kind == "resident":
        return InMemoryLoader(ImageSubset(source, indices), transform, CPU)
    return StreamingLoader(ImageSubset(source, indices), transform, CPU, workers)


def epoch(kind, *, seed=1, number=0, batch_size=5, start=0, **options):
    return list(loader(kind, **options).train_batches(seed, number, batch_size, start))


def order(batches) -> list[int]:
    return [int(index) for batch in batches for index in batch.index]


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert torch.equal(batch.index, other.index)
        assert torch.equal(batch.labels, other.labels)
        assert torch.equal(batch.images, other.images)
        assert (batch.mix is None) == (other.mix is None)
        if batch.mix is not None:
            assert torch.equal(batch.mix.labels, other.mix.labels)
            assert torch.equal(batch.mix.share, other.mix.share)


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(23, 5, 4), (20, 5, 4), (4, 5, 1), (5, 5, 1), (1, 64, 1)])
def test_steps_of_an_epoch(count, batch_size, steps):
    assert steps_per_epoch(count, batch_size) == steps
    for kind in KINDS:
        batches = epoch(kind, indices=np.arange(count), batch_size=batch_size)
        assert [len(batch.index) for batch in batches] == [min(count, batch_size)] * steps


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_takes_every_image_at_most_once(kind):
    indices = order(epoch(kind))
    assert len(indices) == len(set(indices)) == 20  # 3 of 23 are dropped
    assert set(indices) <= set(range(23))
    assert sorted(order(epoch(kind, indices=np.arange(20)))) == list(range(20))
    left_out = {frozenset(range(23)) - frozenset(order(epoch(kind, number=number))) for number in range(6)}
    assert len(left_out) > 1  # not always the same ones


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_drawn_from_seed_and_epoch(kind):
    orders = [tuple(order(epoch(kind, seed=seed, number=number))) for seed, number in ((1, 0), (1, 1), (2, 0), (2, 1))]
    assert len(set(orders)) == 4
    torch.manual_seed(5)
    assert tuple(order(epoch(kind))) == orders[0]
    assert orders[0] != tuple(sorted(orders[0]))


def test_both_loaders_take_the_same_order():
    assert order(epoch("resident", number=3)) == order(epoch("streamed", number=3))


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_pixels_belong_to_the_index(kind):
    source = images()
    for batch in epoch(kind, transform=PLAIN, source=source):
        own = INDICES[batch.index.numpy()]
        assert batch.labels.dtype == batch.index.dtype == torch.int64
        assert np.array_equal(batch.labels.numpy(), source.labels[own])
        assert np.allclose(batch.images.numpy() * 255, source.array[own].transpose(0, 3, 1, 2), atol=1e-3)
    assert np.array_equal(loader(kind, source=source).labels.numpy(), source.labels[INDICES])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", range(5))
def test_a_later_start_gives_the_tail_of_the_epoch(kind, start):
    assert_same(epoch(kind, start=start), epoch(kind)[start:])


def test_loader_processes_change_nothing():
    expected = epoch("streamed", number=2)
    torch.manual_seed(9)
    assert_same(epoch("streamed", number=2, workers=2), expected)
    assert_same(epoch("streamed", number=2, workers=2, start=3), expected[3:])
    tested = list(loader("streamed").test_batches(7))
    assert_same(list(loader("streamed", workers=2).test_batches(7)), tested)


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_changes_with_the_epoch_and_not_with_the_run(kind):
    by_epoch = []
    for number in (0, 1):
        batches = epoch(kind, number=number)
        assert_same(epoch(kind, number=number), batches)
        pixels = torch.cat([batch.images for batch in batches])
        by_epoch.append(dict(zip(order(batches), pixels, strict=True)))
    shared = by_epoch[0].keys() & by_epoch[1].keys()
    same = sum(torch.equal(by_epoch[0][index], by_epoch[1][index]) for index in shared)
    assert same < len(shared) / 4  # one flip and 25 places of a window


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_of_every_epoch_is_augmented_on_its_own(kind):
    """Copies of one image come out as many different ones, in each epoch others."""
    array = np.repeat(images().array[:1], 20, axis=0)
    source = ImageDataset(np.zeros(20, np.int64), ("a",), ArrayImages(array), array)
    drawn_pixels = []
    for number in (0, 1):
        batches = epoch(kind, number=number, source=source, indices=np.arange(20))
        pixels = torch.cat([batch.images for batch in batches])[np.argsort(order(batches))]
        drawn_pixels.append([image.numpy().tobytes() for image in pixels])
        assert len(set(drawn_pixels[-1])) > 10
    same = sum(first == second for first, second in zip(*drawn_pixels, strict=True))
    assert same < 5
    # In the order in which they were drawn, too.
    assert set(drawn_pixels[0]) != set(drawn_pixels[1])


@pytest.mark.parametrize("kind", KINDS)
def test_testing_takes_every_image_once_in_order(kind):
    source = images()
    batches = list(loader(kind, source=source).test_batches(5))
    assert [len(batch.index) for batch in batches] == [5, 5, 5, 5, 3]
    assert order(batches) == list(range(23))
    assert np.array_equal(torch.cat([batch.labels for batch in batches]).numpy(), source.labels[INDICES])
    pixels = torch.cat([batch.images for batch in batches]).numpy() * 255
    assert np.allclose(pixels, source.array[INDICES].transpose(0, 3, 1, 2), atol=1e-3)


@pytest.mark.parametrize(("eval_resize", "shape"), [(None, (20, 33)), (16, (20, 33)), (10, (20, 20)), (24, (12, 12))])
def test_testing_resizes_and_crops_the_centre(eval_resize, shape):
    """Against torchvision's transforms; a size below the crop's counts as the crop's."""
    source = images(*shape)
    transform = Transform(SIDE, eval_resize, AUGMENTED.augmenters)
    pixels = torch.from_numpy(source.array[INDICES].transpose(0, 3, 1, 2).copy()).float() / 255
    shorter = max(eval_resize or SIDE, SIDE)
    scale = shorter / min(shape)
    size = [max(shorter, round(side * scale)) for side in shape]
    resized = torchvision.transforms.functional.resize(pixels, size, antialias=True)
    expected = []
    for image in resized:  # torchvision rounds half a pixel to even, BenchBench down
        top, left = ((side - SIDE) // 2 for side in size)
        expected.append(torchvision.transforms.functional.crop(image, top, left, SIDE, SIDE))
    for kind in KINDS:
        batches = list(loader(kind, transform, source).test_batches(8))
        cropped = torch.cat([batch.images for batch in batches])
        assert torch.allclose(cropped, torch.stack(expected), atol=1e-5)


def whole_levels(pixels):
    """True if every value is one of the 256 of a stored image."""
    return torch.equal((pixels * 255).round() / 255, pixels)


def test_a_training_image_reaches_the_network_unrounded():
    """The float32 that its augmenters gave for its own seed; in memory, those of the batch."""
    source = images(40, 30)
    stored = torch.from_numpy(source.array[INDICES].transpose(0, 3, 1, 2).copy()).float() / 255
    streamed, resident = (epoch(kind, transform=CROPPED, source=source, number=2) for kind in ("streamed", "resident"))
    for step, (batch, other) in enumerate(zip(streamed, resident, strict=True)):
        for index, image in zip(batch.index, batch.images, strict=True):
            random = torch.Generator().manual_seed(derive(1, "augment", 2, int(index)))
            assert torch.equal(image, CROPPED.train(stored[index][None].clone(), random)[0])
        assert torch.equal(other.images, CROPPED.train(stored[other.index], generator(1, "augment", 2, step)))
        assert not whole_levels(batch.images)
        assert not whole_levels(other.images)


def test_both_loaders_give_one_draw_the_same_pixels():
    """Of one image, since a batch of several shares a generator in memory; training, testing, and views."""
    source, one = images(40, 30), np.array([5])
    for transform in (CROPPED, replace(CROPPED, views=2, view_seed=3)):
        one_draw = []
        for kind in KINDS:
            one_loader = loader(kind, transform, source, one)
            views = [batch.images for batches in one_loader.view_batches(4, 0) for batch in batches]
            shown_views = [batch.images for number in range(2) for batch in one_loader.train_batches(1, number, 4, 0)]
            if transform.views:  # every epoch shows one of them
                assert_equal(views, shown_views)
                assert all(map(whole_levels, views))
            one_draw.append([*views, *(batch.images for batch in one_loader.test_batches(4))])
        assert len(one_draw[0]) == (transform.views or 1) + 1
        assert_equal(*one_draw)


def assert_equal(pixels, expected):
    for image, other in zip(pixels, expected, strict=True):
        assert torch.equal(image, other)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_stay_in_the_unit_interval(kind):
    array = np.tile(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1), (8, 40, 20, 3))
    source = ImageDataset(np.arange(8) % 2, ("a", "b"), ArrayImages(array), array)
    for transform in (AUGMENTED, Transform(SIDE, 20, bind_augmenters([*AUGMENT, CROP], FUNCTIONS.__getitem__))):
        batches = epoch(kind, transform=transform, source=source, indices=np.arange(8), batch_size=4)
        batches += loader(kind, transform, source, np.arange(8)).test_batches(3)
        pixels = torch.cat([batch.images for batch in batches])
        assert pixels.dtype == torch.float32
        assert pixels.shape[1:] == (3, SIDE, SIDE)
        assert pixels.min() >= 0
        assert pixels.max() <= 1 + 1e-6
        assert pixels.max() > 0.5  # not 255ths of 255ths


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_size_come_at_the_image_size_without_augmenters(kind):
    batches = epoch(kind, transform=PLAIN, source=images(20, 33))
    assert all(batch.images.shape == (5, 3, SIDE, SIDE) for batch in batches)


@pytest.fixture
def folder(tmp_path):
    """Images of many sizes and modes on disk."""
    random = np.random.RandomState(1)
    files = []
    for number, (size, mode) in enumerate([((14, 14), "RGB"), ((30, 13), "L"), ((9, 22), "RGBA"), ((40, 40), "RGB")]):
        file = tmp_path / f"{number}.png"
        Image.fromarray(random.randint(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(file)
        files.append(str(file))
    return ImageDataset(np.arange(4) % 2, ("a", "b"), FileImages(tuple(files)))


def test_images_of_many_sizes_are_streamed(folder):
    chosen = make_loader(ImageSubset(folder, np.arange(4)), AUGMENTED, CPU, 0)
    assert isinstance(chosen, StreamingLoader)
    (batch,) = chosen.train_batches(0, 0, 4, 0)
    assert batch.images.shape == (4, 3, SIDE, SIDE)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [b"no image", None])
def test_an_image_that_cannot_be_read_is_named(folder, workers, content):
    path = folder.image.files[2]
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(content or whole[: len(whole) // 2])
    broken = StreamingLoader(ImageSubset(folder, np.arange(4)), AUGMENTED, CPU, workers)
    for batches in (broken.train_batches(0, 0, 2, 0), broken.test_batches(2)):
        with pytest.raises(DataError) as caught:
            list(batches)
        assert str(caught.value).startswith(f"cannot read the image {path} (")
        assert "\n" not in str(caught.value)
        assert "Traceback" not in str(caught.value)
        clear_frames(caught.value)
    del broken, batches  # now, and not while another test is collecting garbage: that may wait for the processes


def test_small_sets_live_on_the_device_and_large_ones_stream(monkeypatch):
    source = images()
    needed = INDICES.size * SIDE * SIDE * 3
    for limit, kind in ((needed, InMemoryLoader), (needed - 1, StreamingLoader)):
        monkeypatch.setattr(loading, "IN_MEMORY_BYTES", limit)
        assert isinstance(make_loader(ImageSubset(source, INDICES), PLAIN, CPU, 0), kind)


def mixing(*entries) -> Transform:
    return Transform(SIDE, None, AUGMENTED.augmenters, bind_mixers(entries, FUNCTIONS.__getitem__))


@pytest.mark.parametrize("kind", KINDS)
class TestMixing:
    def test_finished_batches_are_mixed_and_their_labels_with_them(self, kind):
        """The images are the mixture of what the loader gives without mixing; partners are of the same batch."""
        plain, mixed = epoch(kind, number=2), epoch(kind, number=2, transform=mixing(MIXES[0]))
        assert [batch.mix for batch in plain] == [None] * 4
        for step, (before, after) in enumerate(zip(plain, mixed, strict=True)):
            assert torch.equal(after.index, before.index)
            assert torch.equal(after.labels, before.labels)
            random = generator(1, "mix", 2, step)
            torch.randint(1, (), generator=random)
            images, partner, share = mixup(before.images, random, alpha=1.0, probability=1.0)
            assert torch.equal(after.images, images)
            assert torch.equal(after.mix.labels, before.labels[partner])
            assert torch.equal(after.mix.share, share)

    def test_mixing_changes_with_seed_epoch_and_step(self, kind):
        shares = [
            batch.mix.share[0].item()
            for seed, number in ((1, 0), (1, 1), (2, 0))
            for batch in epoch(kind, seed=seed, number=number, transform=mixing(MIXES[0]))
        ]
        assert len(set(shares)) == 12

    @pytest.mark.parametrize("start", [1, 3])
    def test_a_later_start_gives_the_tail_of_the_epoch(self, kind, start):
        transform = mixing(*MIXES)
        assert_same(epoch(kind, transform=transform, start=start), epoch(kind, transform=transform)[start:])

    def test_of_several_each_batch_draws_one(self, kind):
        """Alone in a batch of two colours, cutmix leaves those two; mixup makes others of them."""
        array = np.zeros((20, SIDE, SIDE, 3), np.uint8)
        array[10:] = 255
        source = ImageDataset(np.arange(20) // 10, ("a", "b"), ArrayImages(array), array)
        transform = Transform(SIDE, None, [], mixing(*MIXES).mixers)
        drawn = []
        for number in range(10):
            for batch in epoch(kind, number=number, transform=transform, source=source, indices=np.arange(20)):
                drawn.append(bool(((batch.images > 0.01) & (batch.images < 0.99)).any()))
        assert 10 < sum(drawn) < 30

    def test_testing_mixes_nothing(self, kind):
        batches = list(loader(kind, mixing(*MIXES)).test_batches(5))
        assert_same(batches, list(loader(kind).test_batches(5)))


def test_mixing_is_the_same_behind_loader_processes():
    expected = epoch("streamed", transform=mixing(*MIXES))
    assert_same(epoch("streamed", transform=mixing(*MIXES), workers=2), expected)
