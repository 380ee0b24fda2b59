"""A user's own images with boxes in YOLO's text files."""

import pickle

import numpy as np
import pytest

from benchbench.data.info import DataInfo
from benchbench.data.sources.yolo import YoloParams, load
from benchbench.errors import DataError

# The whole image, and a box of 2 x 2 pixels whose left upper corner is (4, 1), of 8 x 6 pixels.
WHOLE, SMALL = "0 0.5 0.5 1 1", "1 0.625 0.333333 0.25 0.333333"
LAYOUTS = {
    "images/PART": ("images/{}", "labels/{}"),
    "PART/images": ("{}/images", "{}/labels"),
    "beside": ("{}", "{}"),
}


@pytest.fixture
def write(tmp_path, save_image):
    """(part, name, lines, layout) -> writes an image of 8 x 6 pixels, and a text file where there are lines."""

    def write(part, name, *lines, layout="images/PART", texts=True):
        images, labels = (tmp_path / "own" / folder.format(part) for folder in LAYOUTS[layout])
        save_image(images / f"{name}.png", len(name))
        (labels / name).parent.mkdir(parents=True, exist_ok=True)
        if texts:
            (labels / f"{name}.txt").write_text("\n".join(lines))
        return tmp_path / "own"

    return write


@pytest.fixture
def folder(write):
    """Three images to train on, one of them without a text file, and one to test on."""
    write("train", "b", WHOLE, SMALL)
    write("train", "a")
    write("train", "deep/c", texts=False)
    folder = write("test", "a", SMALL)
    (folder / "data.yaml").write_text("train: ../elsewhere\nnc: 2\nnames: [car, person]\n")
    return folder


def params_of(folder, **given):
    return YoloParams(path=folder, **given)


def refusal(params):
    """The one line that refuses to plan and to load."""
    messages = []
    for refused in (lambda: params.info(params.path), lambda: load(params, params.path, "train")):
        with pytest.raises(DataError) as caught:
            refused()
        messages.append(str(caught.value).replace(f"{params.path}/", "").replace(str(params.path), "."))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]
    return messages[0]


def test_shares_become_pixels(folder):
    params = params_of(folder)
    assert params.info(folder) == DataInfo(2, 3, 1, names=("car", "person"), task="detection")
    images = load(params, folder, "train")
    assert [file.split("train/")[1] for file in images.image.files] == ["a.png", "b.png", "deep/c.png"]
    assert images.array.shape == (3, 6, 8, 3)
    assert [len(images.boxes(index).classes) for index in range(3)] == [0, 2, 0]
    boxes = pickle.loads(pickle.dumps(images.boxes))(1)  # noqa: S301 (its own bytes)
    assert boxes.corners[0].tolist() == [0, 0, 8, 6]
    np.testing.assert_allclose(boxes.corners[1], [4, 1, 6, 3], atol=1e-4)
    assert (boxes.classes.tolist(), boxes.ignored.tolist()) == ([0, 1], [False, False])
    assert sorted(params.split_files("train", folder)) == [
        *("annotation/a.txt", "annotation/b.txt", "image/a.png", "image/b.png", "image/deep/c.png", "names.yaml")
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names:\n  1: person\n  0: car\n"),
        ("cells.yml", "names: [car, person]"),
        ("classes.txt", "car\nperson\n"),
    ],
)
def test_layouts_and_names_of_classes(write, layout, file, text):
    for part in ("train", "valid"):
        folder = write(part, "a", WHOLE, layout=layout)
    (folder / file).write_text(text)
    note = "valid/ tests, as there is no test/; no box to train on has the class 'person'"
    assert params_of(folder).info(folder) == DataInfo(2, 1, 1, note, ("car", "person"), task="detection")
    assert load(params_of(folder, classes=["x", "y"]), folder, "test").classes == ("x", "y")


def test_a_split_is_drawn_and_a_part_validates(write, folder):
    assert refusal(params_of(folder, split={"test": 0.3})).endswith(
        "has test/ already; take `split` out, or the folder"
    )
    whole = folder.with_name("whole")
    whole.mkdir()
    write("train", "deep/c", SMALL)
    for kind in ("images", "labels"):
        (folder / kind / "train").rename(whole / kind)
    params = params_of(whole, split={"test": 0.3}, classes=["car", "person"])
    assert (params.info(whole).train, params.info(whole).test) == (2, 1)
    assert len(load(params, whole, "train")) == 2
    for kind in ("images", "labels"):
        (whole / kind).rename(folder / kind / "train")
    write("val", "z", SMALL)
    both = params_of(folder, split={"test": 0.3, "validation": 0.3}, validation_folder="val")
    assert refusal(both).startswith("yolo: there is a validation part already, and `split: {validation: ...}` draws")
    params = params_of(folder, validation_folder="val")
    assert params.info(folder).validation == 1
    images = load(params, folder, "train")
    assert (images.validation.tolist(), images.boxes(3).classes.tolist()) == ([3], [1])
    assert "../validation/annotation/z.txt" in params.split_files("train", folder)


def test_what_is_dropped_cut_or_left_out(write, folder):
    write("train", "a", "0 0.5 0.5 0 0.5", "0 0.9 0.5 0.4 0.5", "1 1.5 0.5 0.2 0.2", "0 0.5 0.5 1.000001 1")
    (folder / "labels" / "train" / "z.txt").write_text(WHOLE)
    (folder / "images" / "train" / "note.md").write_text("")
    assert params_of(folder).info(folder).note == (
        "train/: 1 file is left out: 1 .md (train/note.md); train/: 1 text file without an image (z.txt); 1 box "
        "without an area is dropped (a.txt:1); 1 box outside of the image is dropped (a.txt:3); 1 box reaches beyond "
        "its image and is cut to it (a.txt:2)"
    )
    boxes = load(params_of(folder), folder, "train").boxes(0)
    np.testing.assert_allclose(boxes.corners, [[5.6, 1.5, 8, 4.5], [0, 0, 8, 6]], atol=1e-5)


def test_a_polygon_has_the_box_around_it(write, folder):
    write("train", "a", "1 0.5 0.5 0.75 1.0 0.25 0.75")
    assert load(params_of(folder), folder, "train").boxes(0).corners.tolist() == [[2, 3, 6, 6]]


def test_keypoints_after_a_box_are_no_polygon(write, folder):
    """The count of their numbers is that of polygons too."""
    names = folder / "data.yaml"
    names.write_text("names: [car, person]\nkpt_shape: [2, 3]\n")
    write("train", "a", f"{SMALL} 0.45 0.4 2 0.9 0.9 0", SMALL)
    corners = load(params_of(folder), folder, "train").boxes(0).corners
    np.testing.assert_allclose(corners, [[4, 1, 6, 3]] * 2, atol=1e-4)
    write("train", "a", f"{SMALL} 0.45 0.4")
    assert refusal(params_of(folder)) == (
        "yolo: labels/train/a.txt:1: 7 values, where a box has 5 and its keypoints have 6 by `kpt_shape`"
    )
    names.write_text("names: [car, person]\nkpt_shape: 2\n")
    assert refusal(params_of(folder)).startswith("yolo: data.yaml: its `kpt_shape` is no pair of whole numbers")


LABELS = "yolo: labels/train/a.txt"
BROKEN = [
    ("0 0.5 0.5 1", f"{LABELS}:2: 4 values, where a box has 5: class, centre x, centre y, width, height"),
    ("0 0.5 0.5 1 1 0.9", f"{LABELS}:2: 6 values, where"),
    ("car 0.5 0.5 1 1", f"{LABELS}:2: the class 'car' is no number; number the classes from 0"),
    ("-1 0.5 0.5 1 1", f"{LABELS}:2: the class '-1' is no number"),
    ("2 0.5 0.5 1 1", f"{LABELS}:2: class 2, and the 2 classes are numbered 0 to 1"),
    ("0 0.5 nan 1 1", f"{LABELS}:2: 'nan' is no number"),
    ("0 0.5 0,5 1 1", f"{LABELS}:2: '0,5' is no number"),
    ("0 4 3 8 6", f"{LABELS}:2: the value 4 is no share of a side, 0 to 1; divide pixels by the image's size"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN)
def test_broken_lines(write, folder, line, message):
    write("train", "a", WHOLE, line)
    assert refusal(params_of(folder)).startswith(message)


NAMES = [
    ("names: [a, a]", "yolo: data.yaml: two classes are named 'a'; name each its own"),
    ("names: {0: a, 2: b}", "yolo: data.yaml: the 2 numbers under `names` are not 0 to 1"),
    ("nc: 2", "yolo: data.yaml: it has no `names:`, a list of the classes or a name for each number"),
    ("- a\n- b: [", "yolo: data.yaml:2: it is no YAML"),
    ("names: !!python/object:os.system [x]", "yolo: data.yaml:1: it is no YAML"),
    ("names: !!bool maybe", "yolo: data.yaml: it is no YAML"),
    (f"names: [a, 0x{'f' * 4000}]", "yolo: data.yaml: a name of a class is empty, or no text that a file can hold"),
    ('names: [a, "\\ud800"]', "yolo: data.yaml: a name of a class is empty, or no text that a file can hold"),
    (b"names: [\xff]", "yolo: data.yaml: byte 0xff is not UTF-8"),
    ("names: []", "yolo: data.yaml: it names no class"),
    (None, "yolo: . holds no data.yaml and no classes.txt with the names of the classes; name them with `classes: ["),
]


@pytest.mark.parametrize(("text", "message"), NAMES)
def test_names_that_are_none(folder, text, message):
    if text is None:
        (folder / "data.yaml").unlink()
    else:
        (folder / "data.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refusal(params_of(folder)).startswith(message)


def test_what_is_absent_is_named(folder):
    message = refusal(params_of(folder, train_folder="trian"))
    assert message.startswith(
        "yolo: neither images/trian nor trian is a folder; . holds images/, labels/, test/, train/;"
    )
    (folder / "labels" / "train" / "b.txt").unlink()
    (folder / "labels" / "train" / "a.txt").rename(folder / "labels" / "train" / "x.txt")
    message = "yolo: none of the images in images/train has a text file of its name in labels/train"
    assert refusal(params_of(folder)) == message
    (folder / "labels").rename(folder / "texts")
    message = "yolo: labels/train is not a folder; the text files of the images in images/train belong there"
    assert refusal(params_of(folder)) == message


def test_several_yaml_files(folder):
    (folder / "data.yaml").rename(folder / "a.yaml")
    (folder / "b.yaml").write_text("")
    assert refusal(params_of(folder)) == "yolo: . holds a.yaml and b.yaml; name the classes with `classes`"
    assert params_of(folder, classes=["car", "person"]).info(folder).classes == 2


def test_a_folder_that_is_two_parts(folder):
    for params in ({"test_folder": "train"}, {"validation_folder": "test"}):
        assert "the parts are to differ" in refusal(params_of(folder, **params))
