"""Kinds of files that hold masks, against values that are known."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from benchbench.data.images import IGNORED
from benchbench.data.sources.mask_files import ClassValues, MaskFiles, check_header, read_values
from benchbench.data.sources.own_images import Reading
from benchbench.errors import DataError

VALUES = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 0, 2]], np.uint8)
READING = Reading()


def saved(file, image, **options):
    image.save(file, **options)
    return str(file)


def paletted(values):
    """Colours in an order that no grey value follows."""
    image = Image.fromarray(values, "L").copy()
    image.putpalette([200, 0, 0, 0, 90, 0, 0, 0, 250, 7, 7, 7] + [1, 2, 3] * 252)
    return image


def png_of_bits(values, bits):
    """A grey PNG of 2 or 4 bits, which Pillow reads and cannot write."""
    height, width = values.shape
    packed = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        packed += b"\0" + bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))

    def chunk(kind, body):
        body = kind + body
        return (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("grey.png", Image.fromarray(VALUES)),
        ("grey.tif", Image.fromarray(VALUES)),
        ("grey.bmp", Image.fromarray(VALUES)),
        ("grey.pgm", Image.fromarray(VALUES)),
        ("index.png", paletted(VALUES)),
        ("index.tif", paletted(VALUES)),
        ("index.gif", paletted(VALUES)),
        ("index.bmp", paletted(VALUES)),
        ("16.png", Image.fromarray(VALUES.astype(np.uint16))),
        ("16.tif", Image.fromarray(VALUES.astype(np.uint16))),
        ("32.tif", Image.fromarray(VALUES.astype(np.int32))),
        ("float.tif", Image.fromarray(VALUES.astype(np.float32))),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_values_are_those_that_are_stored(tmp_path, name, image):
    file = saved(tmp_path / name, image)
    assert read_values(file, READING).tolist() == VALUES.tolist()
    check_header(file, file, READING)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_not_spread(tmp_path, bits):
    (tmp_path / "a.png").write_bytes(png_of_bits(VALUES, bits))
    assert read_values(str(tmp_path / "a.png"), READING).tolist() == VALUES.tolist()


@pytest.mark.parametrize("largest", [3, 7, 254, 255, 300, 65535])
@pytest.mark.parametrize("kind", ["P2", "P5"])
def test_grey_of_a_pgm_is_not_spread(tmp_path, kind, largest):
    """As text and as bytes, two of each value where the largest needs them."""
    values = np.minimum(np.append(VALUES, [[largest, largest - 1, 1, 0]], 0), largest)
    text = " ".join(map(str, values.flatten())).encode()
    content = text if kind == "P2" else values.astype(">u2" if largest > 255 else np.uint8).tobytes()
    (tmp_path / "a.pgm").write_bytes(f"{kind} 4 4 {largest}\n".encode() + content)
    assert read_values(str(tmp_path / "a.pgm"), READING).tolist() == values.tolist()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif", "a.pbm"])
def test_one_bit_is_0_and_1(tmp_path, name):
    image = Image.fromarray(VALUES > 1)
    assert image.mode == "1"
    values = read_values(saved(tmp_path / name, image), READING)
    # A GIF has no pixels of one bit: Pillow writes grey ones, 0 and 255.
    assert (values > 0).tolist() == (VALUES > 1).tolist()
    assert values.max() == (255 if name == "a.gif" else 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
def test_colours_are_refused(tmp_path, mode):
    file = saved(tmp_path / "a.tif", Image.fromarray(VALUES).convert(mode))
    for read in (lambda: read_values(file, READING), lambda: check_header(file, file, READING)):
        with pytest.raises(DataError, match=rf"a\.tif has colours \({mode}\), .*; save it as a grey PNG"):
            read()


def test_what_is_no_mask_is_one_line(tmp_path):
    file = tmp_path / "a.png"
    fractions = saved(tmp_path / "b.tif", Image.fromarray(np.float32([[0, 0.5]])))
    with pytest.raises(DataError, match=r"b\.tif holds fractions"):
        read_values(fractions, READING)
    with pytest.raises(DataError, match=r"cannot read the mask .*a\.png"):
        read_values(str(file), READING)
    whole = io.BytesIO()
    Image.fromarray(VALUES).save(whole, "PNG")
    for content, reason in ((b"", "it is empty, of 0 bytes"), (b"text", "damaged, or no image"), (None, "truncated")):
        file.write_bytes(whole.getvalue()[:50] if content is None else content)
        with pytest.raises(DataError, match=rf"cannot read the mask .*a\.png \(.*{reason}") as caught:
            read_values(str(file), READING)
        assert "\n" not in str(caught.value)


PAIRS = ((0, 0), (1, 1), (7, 1), (300, 2), (255, IGNORED))


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_values_become_classes(kind):
    values = ClassValues(PAIRS, "write VALUE")
    classes = values.classes_of(np.array([[0, 1, 7], [300, 255, 0]], kind), "a.png")
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[0, 1, 1], [2, IGNORED, 0]]
    with pytest.raises(DataError, match=r"the mask a\.png holds the value 9, of no class; write 9"):
        values.classes_of(np.array([[0, 9]], np.uint8), "a.png")
    with pytest.raises(DataError, match=r"holds the values 9, 301, of no class; write 9"):
        values.classes_of(np.array([[301, 9, 0]], kind), "a.png")
    with pytest.raises(DataError, match=r"holds the values 10, 11, 12, 13, 14, \.\.\., of no class"):
        values.classes_of(np.arange(10, 20, dtype=kind)[None], "a.png")


def test_negative_values_have_no_class():
    with pytest.raises(DataError, match="holds the value -1, of no class"):
        ClassValues(PAIRS, "").classes_of(np.array([[-1, 0]], np.int32), "a.tif")


class TestSizes:
    def test_another_size_is_refused_with_both(self, tmp_path):
        mask = saved(tmp_path / "m.png", Image.fromarray(VALUES))
        image = saved(tmp_path / "i.png", Image.new("RGB", (5, 3)))
        masks = MaskFiles((mask,), (image,), ClassValues(((0, 0),), ""), READING)
        for read in (lambda: masks(0), lambda: check_header(mask, image, READING)):
            with pytest.raises(
                DataError, match=r"m\.png is 4 x 3 pixels, and its image .*i\.png 5 x 3; a mask has the"
            ):
                read()

    def test_of_arrays(self, tmp_path):
        mask = saved(tmp_path / "m.png", Image.fromarray(VALUES))
        np.save(tmp_path / "i.npy", np.zeros((3, 4, 5), np.uint8))
        check_header(mask, str(tmp_path / "i.npy"), READING)
        np.save(tmp_path / "i.npy", np.zeros((4, 3, 5), np.uint8))
        with pytest.raises(DataError, match=r"i\.npy 3 x 4"):
            check_header(mask, str(tmp_path / "i.npy"), READING)

    def test_an_image_that_cannot_be_read_is_found_elsewhere(self, tmp_path):
        mask = saved(tmp_path / "m.png", Image.fromarray(VALUES))
        (tmp_path / "i.png").write_bytes(b"no image")
        check_header(mask, str(tmp_path / "i.png"), READING)

    @pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
    def test_of_turned_images(self, tmp_path, kind):
        """A mask is drawn over the image as it is shown, or carries the same orientation."""
        exif = Image.Exif()
        exif[0x0112] = 6
        image = saved(tmp_path / f"i.{kind}", Image.new("RGB", (4, 3)), exif=exif)
        stored, apply = saved(tmp_path / "m.png", Image.fromarray(VALUES)), Reading("apply")
        shown = saved(tmp_path / "s.png", Image.fromarray(np.rot90(VALUES, -1).copy()))
        turned = saved(tmp_path / "t.png", Image.fromarray(VALUES), exif=exif)
        as_shown = kind == "tif"  # Pillow turns a TIFF whatever is asked for
        check_header(shown if as_shown else stored, image, READING)
        check_header(shown, image, apply)
        check_header(turned, image, apply)
        assert read_values(turned, apply).tolist() == np.rot90(VALUES, -1).tolist()
        assert read_values(turned, READING).tolist() == VALUES.tolist()
        with pytest.raises(DataError, match=r"m\.png is 4 x 3 pixels, and its image .* 3 x 4"):
            check_header(stored, image, apply)
