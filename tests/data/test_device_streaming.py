"""Images that are cropped on the device: the same as of loader processes, from files and from pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as torchvision_functional

from benchbench.augmenters.color import color_jitter
from benchbench.augmenters.geometric import flip, random_crop, random_resized_crop
from benchbench.data import device_streaming
from benchbench.data.decoded import DecodedImages, decoded_once
from benchbench.data.device_streaming import DeviceStreamingLoader
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.loader import make_loader
from benchbench.data.share import Share
from benchbench.data.sources.common import FileImages
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform
from benchbench.data.windows import Window, WindowDraws, grids, sample
from benchbench.errors import DataError
from benchbench.seeds import generator

CPU = torch.device("cpu")
SIZE, BATCH = 24, 5
RESIZED_CROP = partial(random_resized_crop, min_scale=0.2, max_scale=1.0, min_ratio=0.75, max_ratio=4 / 3)
FLIP, PADDED_CROP = partial(flip, probability=0.5), partial(random_crop, padding=3, resize=None)
JITTER = partial(color_jitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
AUGMENTERS = {
    "a crop that is resized": [RESIZED_CROP, FLIP],
    "a flip before": [FLIP, RESIZED_CROP],
    "a padded crop": [PADDED_CROP, FLIP],
    "a crop of a resized image": [FLIP, partial(random_crop, padding=0, resize=40)],
    "a flip alone": [FLIP],
    "nothing": [],
}
# The decoders of torchvision and of Pillow round otherwise; of float32 images in 0..1.
OF_DECODERS, OF_ROUNDING = 3 / 255, 2e-5


def picture(height: int, width: int, seed: int) -> Image.Image:
    """Smooth colours with some edges, as of a photograph."""
    few = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageDataset:
    """Eleven JPEG and PNG files of a few sizes, grey, CMYK and turned ones among them."""
    folder, files = tmp_path_factory.mktemp("images"), []
    for number in range(11):
        file = folder / f"{number}.{'png' if number % 4 == 3 else 'jpg'}"
        turned = Image.Exif()
        turned[0x0112] = 6
        mode = {4: "L", 6: "CMYK"}.get(number, "RGB")
        options = {"exif": turned} if number == 8 else {}
        picture(*[(40, 50), (50, 40), (31, 44)][number % 3], number).convert(mode).save(file, **options)
        files.append(str(file))
    return ImageDataset(np.arange(11) % 3, ("a", "b", "c"), FileImages(tuple(files)))


def loaders(images: ImageDataset, augmenters, workers: int = 0) -> tuple[StreamingLoader, StreamingLoader]:
    """Those whose images are cropped by loader processes, and by the device."""
    subset, transform = ImageSubset(images, np.arange(len(images))), Transform(SIZE, 28, augmenters)
    plain = make_loader(subset, transform, CPU, 0)
    other = make_loader(subset, replace(transform, on_device=True), CPU, workers)
    assert isinstance(plain, StreamingLoader)
    assert isinstance(other, DeviceStreamingLoader)
    return plain, other


def pixels_alone(monkeypatch) -> None:
    monkeypatch.setattr(device_streaming, "decoder_problem", lambda device: "no decoder")


@pytest.mark.parametrize("decodes", [True, False], ids=["files", "pixels"])
@pytest.mark.parametrize("name", AUGMENTERS)
def test_crops_are_those_of_loader_processes(images, monkeypatch, name, decodes):
    if not decodes:
        pixels_alone(monkeypatch)
    limit = OF_DECODERS if decodes else OF_ROUNDING
    plain, other = loaders(images, AUGMENTERS[name])
    for start in (0, 1):
        batches = plain.train_batches(3, 1, BATCH, start), other.train_batches(3, 1, BATCH, start)
        for one, two in zip(*batches, strict=True):
            assert torch.equal(one.index, two.index)
            assert torch.equal(one.labels, two.labels)
            assert (one.images - two.images).abs().max() < limit
            assert two.images.dtype == torch.float32
    for one, two in zip(plain.test_batches(4), other.test_batches(4), strict=True):
        assert (one.images - two.images).abs().max() < limit


def test_later_augmenters_draw_for_the_batch(images, monkeypatch):
    pixels_alone(monkeypatch)
    _, other = loaders(images, [RESIZED_CROP, FLIP, JITTER])
    cropped, _ = loaders(images, [RESIZED_CROP, FLIP])
    (batch, _), (expected, _) = (list(each.train_batches(3, 1, BATCH, 0)) for each in (other, cropped))
    jittered = JITTER(expected.images, SIZE, generator(3, "augment", 1, 0))
    assert (batch.images - jittered).abs().max() < 1e-3
    (resumed,) = other.train_batches(3, 1, BATCH, 1)
    assert torch.equal(resumed.images, list(other.train_batches(3, 1, BATCH, 0))[1].images)


def test_a_second_view_is_another_crop_of_the_same_images(images, monkeypatch):
    pixels_alone(monkeypatch)
    plain, other = loaders(images, [RESIZED_CROP, FLIP])
    jittered = loaders(images, [RESIZED_CROP, FLIP, JITTER])[1]
    plain.second_view = other.second_view = jittered.second_view = True
    batches = [next(each.train_batches(3, 1, BATCH, 0)) for each in (plain, other, jittered)]
    for view in ("images", "second_view"):
        one, two, three = (getattr(batch, view) for batch in batches)
        assert one.shape == two.shape == three.shape == (BATCH, 3, SIZE, SIZE)
        assert (one - two).abs().max() < OF_ROUNDING
    assert (JITTER(two, SIZE, generator(3, "second view", 1, 0)) - three).abs().max() < 1e-3


def test_processes_that_share_a_batch_see_the_same_images(images):
    _, other = loaders(images, [RESIZED_CROP, FLIP, JITTER])
    (whole, _) = other.train_batches(3, 1, BATCH, 0)
    crops = [batch.images for batch in loaders(images, [RESIZED_CROP, FLIP])[1].train_batches(3, 1, BATCH, 0)]
    for rank in (0, 1):
        _, part = loaders(images, [RESIZED_CROP, FLIP, JITTER])
        part.share = Share(rank, 2, lambda own, count: crops[0])
        batch = next(part.train_batches(3, 1, BATCH, 0))
        assert torch.equal(batch.own_images, whole.images[part.share.rows(BATCH)])


def test_loader_processes_send_the_same(images):
    _, one = loaders(images, AUGMENTERS["a padded crop"])
    _, two = loaders(images, AUGMENTERS["a padded crop"], workers=1)
    for batch, other in zip(one.train_batches(3, 1, BATCH, 0), two.train_batches(3, 1, BATCH, 0), strict=True):
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.host_index, other.index)


def test_only_plain_jpeg_files_go_to_the_device(images, monkeypatch):
    """PNG files, grey, CMYK and turned ones are decoded by Pillow, and so is a batch that the device refuses."""
    plain, other = loaders(images, [])
    decoder = Mock(wraps=device_streaming.decode)
    monkeypatch.setattr(device_streaming, "decode", decoder)
    (batch,), (expected,) = other.test_batches(11), plain.test_batches(11)
    assert len(decoder.call_args.args[0]) == 6  # 0, 1, 2, 5, 9, 10
    assert (batch.images - expected.images).abs().max() < OF_DECODERS
    decoder.side_effect = RuntimeError("nvJPEG: 3")
    (batch,) = other.test_batches(11)
    assert (batch.images - expected.images).abs().max() < OF_ROUNDING


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), RuntimeError("CUDA error: launch failure")])
def test_a_failure_of_the_device_itself_is_no_failure_of_a_file(images, monkeypatch, error):
    monkeypatch.setattr(device_streaming, "decode", Mock(side_effect=error))
    with pytest.raises(type(error), match=str(error)):
        list(loaders(images, [])[1].test_batches(11))


def test_a_file_that_cannot_be_read_is_named(images, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(images.image.files[0]).read_bytes()[:300])
    _, other = loaders(replace(images, image=FileImages((str(broken),) * 11)), [])
    with pytest.raises(DataError, match=f"cannot read the image {broken}"):
        list(other.test_batches(4))


def test_large_images_are_reduced_once_and_kept(tmp_path, monkeypatch, capsys):
    """Their files do not go to the device: it would decode all of their pixels in every epoch."""
    monkeypatch.setattr(device_streaming, "decode", None)
    for number in range(4):
        picture(150, 200, number).save(tmp_path / f"{number}.jpg")
    files = FileImages(tuple(str(tmp_path / f"{number}.jpg") for number in range(4)))
    images = ImageDataset(np.arange(4), tuple("abcd"), files)
    kept = decoded_once(images, tmp_path / "pixels" / "x", 2 * SIZE, by_device=True)
    assert isinstance(kept.image, DecodedImages)
    assert "about 0.0 GiB" in capsys.readouterr().out
    plain, other = loaders(images, [RESIZED_CROP])[0], loaders(kept, [RESIZED_CROP])[1]
    for one, two in zip(plain.train_batches(3, 1, 2, 0), other.train_batches(3, 1, 2, 0), strict=True):
        assert (one.images - two.images).abs().max() < 2 / 255
    (file, *_) = (tmp_path / "pixels" / "x").rglob("*.npy")
    assert np.load(file).shape == (2 * SIZE, 64, 3)
    small = decoded_once(images, tmp_path / "pixels" / "y", 1000, by_device=True)
    assert small is images  # every file goes to the device


@pytest.mark.parametrize(
    ("augmenters", "parted"),
    [
        ([JITTER, RESIZED_CROP], False),
        ([RESIZED_CROP, PADDED_CROP], False),
        ([FLIP, JITTER], False),
        ([lambda images, size, random: images], False),
        ([FLIP, RESIZED_CROP, FLIP, JITTER, FLIP], True),
    ],
)
def test_augmenters_are_parted_where_all_crops_come_first(augmenters, parted):
    draws = WindowDraws.of(Transform(SIZE, None, augmenters))
    assert (draws is not None) == parted
    if draws is not None:
        assert (len(draws.moving), draws.later) == (3, (JITTER, FLIP))


@pytest.mark.parametrize("shape", [(40, 50), (47, 31)])
def test_resized_crops_are_near_torchvision_s(shape):
    """On the same boxes. This one weighs four pixels of an image of at most twice the size, and torchvision all."""
    draws = WindowDraws.of(Transform(SIZE, None, [RESIZED_CROP]))
    assert draws is not None
    image = torch.from_numpy(np.array(picture(*shape, 7))).permute(2, 0, 1)
    for seed in range(8):
        step_x, first_x, step_y, first_y = draws.train(shape, torch.Generator().manual_seed(seed)).axes
        left, top = first_x - (step_x - 1) / 2, first_y - (step_y - 1) / 2
        top, left, height, width = (round(each) for each in (top, left, step_y * SIZE, step_x * SIZE))
        steps = width / SIZE, height / SIZE
        window = Window(shape, (steps[0], left + (steps[0] - 1) / 2, steps[1], top + (steps[1] - 1) / 2))
        ours = sample(image.unsqueeze(0), window.shape, grids([window], SIZE), zeros=False)[0]
        theirs = torchvision_functional.resized_crop(
            image.float() / 255, top, left, height, width, [SIZE, SIZE], antialias=True
        )
        assert (ours - theirs).abs().mean() < 2 / 255
