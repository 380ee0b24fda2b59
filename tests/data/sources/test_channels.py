"""Images of other than three channels, against pixels that are known."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from benchbench.data.images import ImageSubset
from benchbench.data.loader import make_loader
from benchbench.data.sources.csv_file import CsvParams
from benchbench.data.sources.imagefolder import ImageFolderParams, load
from benchbench.data.survey import survey
from benchbench.data.transforms import Transform
from benchbench.errors import DataError

GREY = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)


def saved(folder, name: str, content) -> None:
    """Saves an image, an array or bytes as `name` of every class of both parts."""
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            path = folder / part / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                np.save(path, content)
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content.save(path)


def pixels_in(folder, channels: int, **params) -> np.ndarray:
    images = load(ImageFolderParams(path=folder, channels=channels, **params), folder, "train")
    return pickle.loads(pickle.dumps(images.pixels))(0)  # noqa: S301


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", Image.fromarray(GREY)),
        ("a.bmp", Image.fromarray(np.repeat(GREY[..., None], 3, 2))),
        ("a.tif", Image.fromarray(GREY.astype(np.uint16) * 257)),
        ("a.npy", GREY),
        ("a.npy", GREY[..., None].astype(np.uint16) * 257),
    ],
)
def test_grey(tmp_path, name, image):
    saved(tmp_path, name, image)
    assert np.array_equal(pixels_in(tmp_path, 1), GREY[..., None])
    images = load(ImageFolderParams(path=tmp_path, channels=1), tmp_path, "train")
    assert np.array_equal(np.asarray(images.image(1)), np.repeat(GREY[..., None], 3, 2))


def test_many_channels(tmp_path):
    stack = np.random.default_rng(0).integers(0, 256, (6, 5, 7), dtype=np.uint8)
    saved(tmp_path / "arrays", "a.npy", stack)
    assert np.array_equal(pixels_in(tmp_path / "arrays", 7), stack)
    first, *others = (Image.fromarray(stack[..., page]) for page in range(7))
    pages = io.BytesIO()
    first.save(pages, "TIFF", save_all=True, append_images=others)
    saved(tmp_path / "pages", "a.tif", pages.getvalue())
    assert np.array_equal(pixels_in(tmp_path / "pages", 7), stack)
    saved(tmp_path / "alpha", "a.png", Image.fromarray(stack[..., :4], "RGBA"))
    assert np.array_equal(pixels_in(tmp_path / "alpha", 4), stack[..., :4])
    saved(tmp_path / "floats", "a.npy", stack.astype(np.float32) * 2)
    assert np.array_equal(pixels_in(tmp_path / "floats", 7, pixel_range=(0, 510)), stack)


@pytest.mark.parametrize(
    ("kind", "values", "scaled"),
    [(np.float32, (0, 1, 200), [0, 1, 200, 9]), (np.int32, (0, 200, 2000), [0, 1, 8, 9])],
)
def test_pages_of_32_bits_are_scaled_from_one_range(tmp_path, kind, values, scaled):
    first, *others = (Image.fromarray(np.full((6, 5), value, kind)) for value in values)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=[*others, Image.fromarray(np.full((6, 5), 9, np.uint8))])
    saved(tmp_path, "a.tif", file.getvalue())
    assert pixels_in(tmp_path, 4)[0, 0].tolist() == scaled
    assert pixels_in(tmp_path, 4, pixel_range=(0, 100))[0, 0, 2:].tolist() == [255, 9]


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_bands_are_turned_as_the_orientation_says(tmp_path, name):
    stack, exif = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8), Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(stack, "RGBA").save(file, name[2:], exif=exif, lossless=True, exact=True)
    saved(tmp_path, name, file.getvalue())
    assert np.array_equal(pixels_in(tmp_path, 4), stack)
    assert np.array_equal(pixels_in(tmp_path, 4, exif="apply"), np.rot90(stack, -1))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.png", Image.fromarray(np.repeat(GREY[..., None], 3, 2)), r"it has 3 channels, RGB, and `channels: 4` asks"),
        ("a.npy", GREY, r"its shape is \[8, 8, 1\], where `channels: 4` asks for \[height, width, 4\]"),
        ("a.npy", np.array(["a"]), "it holds no array of numbers"),
        ("a.npy", b"no array", "cannot read the image .*a.npy"),
        ("a.png", b"", "it is empty, of 0 bytes"),
        ("a.npy", np.full((2, 2, 4), 1e9), "32-bit values|pixel_range"),
    ],
)
def test_what_does_not_fit(tmp_path, name, content, problem):
    saved(tmp_path, name, content)
    with pytest.raises(DataError, match=problem) as caught:
        pixels_in(tmp_path, 4)
    assert "\n" not in str(caught.value)


def test_batches_and_surveys_have_them(tmp_path):
    import torch

    for number in range(2):
        saved(tmp_path, f"{number}.npy", np.full((9, 7, 5), 51 * number, np.uint8))
    params = ImageFolderParams(path=tmp_path, channels=5)
    images = load(params, tmp_path, "train")
    loader = make_loader(ImageSubset(images, np.arange(4)), Transform(8, None, []), torch.device("cpu"), 0)
    (batch,) = loader.train_batches(0, 0, 4, 0)
    assert batch.images.shape == (4, 5, 8, 8)
    assert sorted(batch.images.amax((1, 2, 3)).tolist()) == pytest.approx([0, 0, 0.2, 0.2])
    assert params.info(tmp_path).channels == 5
    for decode in (False, True):
        found = survey("imagefolder", load, params, tmp_path, decode)
        assert {each.size for each in found.images} == {(7, 9)}
        assert len(found.copies) == 2


def test_arrays_of_three_channels_are_no_images(tmp_path):
    saved(tmp_path, "a.npy", GREY)
    saved(tmp_path, "a.png", Image.fromarray(GREY))
    params = ImageFolderParams(path=tmp_path)
    assert "2 files are left out: 2 .npy" in params.info(tmp_path).note
    assert load(params, tmp_path, "train").pixels is None
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        CsvParams(path=tmp_path, channels=0)
