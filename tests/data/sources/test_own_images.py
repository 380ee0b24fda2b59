"""Kinds of image files that users have, against pixels that are known."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchbench.data.sources.own_images import EXTENSIONS, OwnFileImages, Reading, decode_own, survey
from benchbench.errors import DataError

GREY = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
DEEP = GREY.astype(np.uint16) * 257


def encoded(image: Image.Image, kind: str, **options) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def pixels(source, **reading) -> np.ndarray:
    return np.asarray(decode_own(source, "here", Reading(**reading)))


def grey(array: np.ndarray) -> np.ndarray:
    return np.repeat(array[..., None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_grey_of_16_bits_keeps_its_high_byte(kind):
    assert np.array_equal(pixels(encoded(Image.fromarray(DEEP), kind)), grey(GREY))


def test_big_endian_tiff_of_16_bits():
    image = Image.frombytes("I;16B", (8, 8), DEEP.astype(">u2").tobytes())
    assert np.array_equal(pixels(encoded(image, "TIFF")), grey(GREY))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREY.astype(np.int32), GREY),
        (DEEP.astype(np.int32), GREY),
        (GREY.astype(np.float32), GREY),
        (DEEP.astype(np.float32), GREY),
        ((GREY / 255).astype(np.float32), GREY),
    ],
)
def test_grey_of_32_bits_is_scaled_from_the_range_that_holds_it(values, expected):
    assert np.array_equal(pixels(encoded(Image.fromarray(values), "TIFF")), grey(expected))


def test_values_that_are_no_number_are_refused():
    values = np.where(GREY > 9, GREY, np.nan).astype(np.float32)
    with pytest.raises(DataError, match=r"some of its values are NaN"):
        pixels(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("values", [GREY - np.float32(1), DEEP.astype(np.int32) * 9])
def test_values_without_a_range_are_refused_and_can_be_given_one(values):
    with pytest.raises(DataError, match=r"32-bit values from .* `pixel_range: \[BLACK, WHITE\]`"):
        pixels(encoded(Image.fromarray(values), "TIFF"))


def test_a_given_range():
    twelve_bits = encoded(Image.fromarray(GREY.astype(np.uint16) * 16), "PNG")
    assert np.array_equal(pixels(twelve_bits, pixel_range=(0, 4080)), grey(GREY))
    negative = encoded(Image.fromarray(GREY.astype(np.float32) - 100), "TIFF")
    assert np.array_equal(pixels(negative, pixel_range=(-100, 155)), grey(GREY))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    source = encoded(Image.fromarray(grey(GREY)[:4]), kind, exif=exif)
    stored = pixels(source)
    assert stored.shape == (4, 8, 3)
    source.seek(0)
    assert np.array_equal(pixels(source, exif="apply"), np.rot90(stored, -1))


TURNED = {5: np.transpose, 6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x.T, 2), 8: np.rot90}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(("values", "compression"), [(GREY, None), (DEEP, None), (GREY, "tiff_lzw")])
def test_a_tiff_is_always_turned(orientation, values, compression, tmp_path):
    """Read by its name too, where Pillow would map the file."""
    file = tmp_path / "a.tif"
    Image.fromarray(values[:4]).save(file, tiffinfo={0x0112: orientation}, compression=compression)
    expected = grey(TURNED[orientation](GREY[:4]))
    for exif in ("ignore", "apply"):
        for source in (str(file), file, io.BytesIO(file.read_bytes())):
            assert np.array_equal(pixels(source, exif=exif), expected)


def test_orientations_are_counted_on_headers(tmp_path):
    files = []
    for number, orientation in enumerate((None, 1, 3, 6, 99)):
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        files.append(str(tmp_path / f"{number}.jpg"))
        Image.fromarray(GREY).save(files[-1], exif=exif)
    Path(tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    samples = [lambda path=path: path for path in [*files, str(tmp_path / "broken.jpg")]]
    (note,) = survey(samples, 6, Reading())
    assert note.startswith("2 of the 6 training images carry an EXIF orientation, which is ignored (`exif: apply`")
    (note,) = survey(samples, 1000, Reading("apply"))
    assert note.startswith("2 of 6 training images, a sample carry an EXIF orientation, which is applied")


def test_32_bit_values_are_noted():
    source = encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF")
    (note,) = survey([lambda: source], 1, Reading())
    assert "1 of the 1 training images hold 32-bit values" in note
    assert survey([lambda: source], 1, Reading(pixel_range=(0, 1))) == []


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "PA", "1", "CMYK", "YCbCr"])
def test_every_mode_is_read_without_a_warning(mode):
    image = Image.fromarray(grey(GREY)).convert(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(encoded(image, "TIFF")).shape == (8, 8, 3)


def test_a_palette_with_transparency_has_its_colours():
    image = Image.fromarray(GREY).convert("P")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(pixels(encoded(image, "PNG", transparency=bytes(range(256)))), grey(GREY))


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})])
def test_the_first_frame_of_several(kind, options):
    frames = [Image.fromarray(grey(np.full((8, 8), value, np.uint8))) for value in (0, 255)]
    animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pixels(animated).max() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty, of 0 bytes"),
        (b"no image at all", "it is damaged, or none of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n", "it is damaged, or none of JPEG, PNG"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(content, reason, tmp_path):
    """PostScript among it, which Pillow would hand to Ghostscript."""
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    for source in (str(file), io.BytesIO(content)):
        with pytest.raises(DataError, match=reason) as caught:
            decode_own(source, str(file), Reading())
        assert "\n" not in str(caught.value)


def test_a_decompression_bomb_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"cannot read the image here \(DecompressionBombError: .*exceeds limit"):
        pixels(encoded(Image.fromarray(GREY), "PNG"))


def test_a_file_name_that_is_no_utf_8_can_be_printed(tmp_path):
    name = str(tmp_path / b"caf\xe9.png".decode("utf-8", "surrogateescape"))
    Path(name).write_bytes(b"")
    with pytest.raises(DataError, match=r"caf\\udce9\.png \(it is empty") as caught:
        OwnFileImages((name,), Reading())(0)
    str(caught.value).encode("utf-8")


def test_pillow_writes_every_extension_as_one_of_our_formats():
    """An extension that is not known to Pillow would count files that cannot be read."""
    known = Image.registered_extensions()
    assert [extension for extension in EXTENSIONS if extension not in known] == []
