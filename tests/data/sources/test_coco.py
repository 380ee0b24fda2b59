"""A user's own images with boxes in COCO's JSON."""

import json
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from benchbench.data.images import GROUP
from benchbench.data.info import DataInfo
from benchbench.data.sources.coco import CocoParams, load
from benchbench.errors import DataError

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]


def image(number, file, **given):
    return {"id": number, "file_name": file, "width": 8, "height": 6, **given}


def box(image, bbox=(1, 2, 3, 4), category=3, **given):
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "segmentation": [[0, 0]], **given}


def write(folder, part, images=(), annotations=(), categories=CATEGORIES, **given):
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories, **given}
    (folder / f"{part}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path, save_image):
    """Three images to train on, one of which has no box, and one to test on."""
    folder = tmp_path / "own"
    for seed, name in enumerate(("b.png", "a.png", "deep/c.png", "t.png")):
        save_image(folder / name, seed)
    boxes = [box(7, (0, 0, 8, 6), 18, id=1), box(7, id=2), box(5, (2, 2, 4, 4), iscrowd=1, id=3)]
    write(folder, "train", [image(7, "b.png"), image(5, "a.png"), image(6, "deep/c.png")], boxes)
    write(folder, "test", [image(7, "t.png")], [box(7)], CATEGORIES[::-1])
    return folder


def params_of(folder, **given):
    named = {"train": folder / "train.json", "test": folder / "test.json"} | given
    return CocoParams(**named)


def refusal(params):
    """The one line that refuses to plan and to load."""
    messages, folder = [], params.train.parent
    for refused in (lambda: params.info(folder), lambda: load(params, folder, "train")):
        with pytest.raises(DataError) as caught:
            refused()
        messages.append(str(caught.value).replace(f"{folder}/", ""))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]
    return messages[0]


def test_categories_are_numbered_by_their_sorted_ids(folder):
    params = params_of(folder)
    assert params.info(folder) == DataInfo(2, 3, 1, names=("car", "dog"), task="detection")
    images = load(params, folder, "train")
    assert [file.split("own/")[1] for file in images.image.files] == ["a.png", "b.png", "deep/c.png"]
    assert images.array.shape == (3, 6, 8, 3)
    read = pickle.loads(pickle.dumps(images.boxes))  # noqa: S301 (its own bytes)
    assert (read(0).corners.tolist(), read(0).ignored.tolist()) == ([[2, 2, 6, 6]], [GROUP])
    assert read(1).corners.tolist() == [[0, 0, 8, 6], [1, 2, 4, 6]]
    assert (read(1).classes.tolist(), read(1).ignored.tolist()) == ([1, 0], [False, False])
    assert (read(2).corners.shape, read(2).corners.dtype) == ((0, 4), np.float32)
    assert load(params, folder, "test").boxes(0).classes.tolist() == [0]
    assert sorted(params.split_files("train", folder)) == [
        *("annotations.json", "image/a.png", "image/b.png", "image/deep/c.png")
    ]


def test_crowds_and_ids_as_other_programs_write_them(folder):
    images = [image(7.0, "b.png"), image(5.0, "a.png")]
    write(folder, "train", images, [box(7.0, iscrowd="0"), box(5.0, iscrowd="1"), box(5, iscrowd=True), box(5)])
    read = load(params_of(folder), folder, "train").boxes
    assert [read(index).ignored.tolist() for index in range(2)] == [[GROUP, GROUP, 0], [0]]


@pytest.mark.parametrize(("part", "purpose"), [("train", "train"), ("test", "test"), ("validation", "validate")])
def test_parts_without_a_box_that_counts(folder, save_image, part, purpose):
    """A score of them would be none, or of nothing."""
    save_image(folder / "v.png")
    write(folder, "validation", [image(1, "v.png")], [box(1)])
    params = params_of(folder, validation=folder / "validation.json")
    name = {"train": "b.png", "test": "t.png", "validation": "v.png"}[part]
    write(folder, part, [image(7, name)])
    assert refusal(params) == f"coco: none of the 1 images to {purpose} on has a box"
    write(folder, part, [image(7, name)], [box(7, iscrowd=1), box(7, (1, 1, 0, 3))])
    problem = f"none of the 1 images to {purpose} on has a box that counts: all are ignored or have no area"
    assert refusal(params) == f"coco: {problem}"


def test_parts_of_one_file_and_a_part_to_validate_on(folder, save_image):
    for name in "defgh":
        save_image(folder / "more" / f"{name}.png")
    files = [image(number, f"{name}.png") for number, name in enumerate("defgh")]
    write(folder, "all", files, [box(number) for number in range(5)])
    drawn = {"train": folder / "all.json", "test": None, "images": folder / "more", "split": {"test": 0.4}}
    params = params_of(folder, **drawn)
    assert (params.info(folder).train, params.info(folder).test) == (3, 2)
    both = [set(params.split_files(split, folder)) for split in ("train", "test")]
    assert both[0] & both[1] == {"annotations.json"}
    held_out = {"validation": folder / "all.json", "validation_images": folder / "more"}
    params = params_of(folder, **held_out)
    assert params.info(folder).validation == 5
    images = load(params, folder, "train")
    assert (len(images), images.validation.tolist()) == (8, [3, 4, 5, 6, 7])
    assert "../validation/annotations.json" in params.split_files("train", folder)
    drawn["split"] = {"test": 0.4, "validation": 0.2}
    assert refusal(params_of(folder, **drawn, **held_out)).startswith("coco: there is a validation part already, and")
    with pytest.raises(ValidationError, match="give `test`, a JSON file, or `split"):
        params_of(folder, split={"test": 0.2})


def test_what_is_dropped_cut_or_left_out(folder, save_image):
    boxes = [
        *(box(7, (1, 1, 0, 3), id=4), box(7, (-2, 1, 4, 3), id=5), box(7, (9, 9, 2, 2), id=6), box(7, id=6)),
        *(box(99, id=7), box(5, (7.5, 0, 0.5, 6.4), id=8), box(5, (3, 3, -1, 2), id=9)),
    ]
    write(folder, "train", [image(7, "b.png"), image(5, "a.png", width=None)], boxes)
    save_image(folder / "more.png")
    assert params_of(folder).info(folder).note.split("; ") == [
        "1 annotation is of an image that train.json does not list, and left out (99)",
        "1 id of annotations in train.json occurs more than once (6)",
        "2 images are in own/ and in no file of annotations (deep/c.png, more.png)",
        "2 boxes without an area are dropped (annotation 9 of a.png, annotation 4 of b.png)",
        "1 box outside of the image is dropped (annotation 6 of b.png)",
        "1 box reaches beyond its image and is cut to it (annotation 5 of b.png)",
        "no box to train on has the class 'dog'",
    ]
    images = load(params_of(folder), folder, "train")
    assert images.boxes(1).corners.tolist() == [[0, 1, 2, 4], [1, 2, 4, 6]]
    assert images.boxes(0).corners.tolist() == [[7.5, 0, 8, 6]]


def test_an_image_of_another_size(folder, save_image):
    save_image(folder / "b.png", size=(9, 6))
    for refused in (params_of(folder).info, lambda root: load(params_of(folder), root, "train").boxes(1)):
        with pytest.raises(DataError, match=r"train\.json has boxes of an image of 8 x 6 .*b\.png has 9 x 6;"):
            refused(folder)


FILES = [image(7, "b.png"), image(5, "a.png")]
BROKEN = [
    ({"images": [*FILES, image(7, "c.png")]}, "images[2]: another image has its id; keep one of them"),
    ({"images": [*FILES, image(8, "./a.png")]}, "images[2]: another image has its file_name; keep one of them"),
    ({"images": [image(7, "../b.png")]}, "images[0]: the file '../b.png' lies outside of the folder of images"),
    ({"images": [image(7, "x\\..\\..\\b.png")]}, "images[0]: the file '../b.png' lies outside"),
    ({"images": [image(7, "/etc/b.png")]}, "images[0]: the file '/etc/b.png' lies outside of the folder of images"),
    ({"images": [image(True, "b.png")]}, "images[0] has no `id`, a number"),
    ({"images": [{"id": 7}]}, "images[0] has no `file_name`"),
    ({"images": [7]}, "images[0] is no object with keys"),
    ({"images": []}, "`images` is empty"),
    ({"categories": []}, "`categories` is empty, and they are the classes"),
    (
        {"categories": [*CATEGORIES, {"id": 3, "name": "x"}]},
        "categories[2]: another category has its id; give it its own",
    ),
    ({"categories": [*CATEGORIES, {"id": 4, "name": "car"}]}, "categories[2]: another category has its name"),
    ({"categories": [{"id": 4}]}, "categories[0] has no `name`"),
    ({"categories": [{"id": 4, "name": "\ud83d"}]}, "categories[0]: its `name` is no text that a file can hold"),
    ({"annotations": [box(7, category=4)]}, "annotations[0] has the category 4, and `categories` has 3, 18"),
    ({"annotations": [box(7, iscrowd="x")]}, "annotations[0]: `iscrowd` is x; write 0 or 1"),
    ({"annotations": [box(7, (1, 2, 3))]}, "annotations[0] has no `bbox` of four numbers: left, top, width, height"),
    ({"annotations": [box(7, (1, 2, 3, float("nan")))]}, "annotations[0] has no `bbox` of four numbers"),
    ({"annotations": [box(7, (1, 2, 3, 10**400))]}, "annotations[0] has no `bbox` of four numbers"),
    (
        {"annotations": [box(7, (0.1, 0.2, 0.5, 0.5))]},
        "no corner of the boxes of train is larger than 0.7, and they are",
    ),
    ({"annotations": []}, "none of the 2 images to train on has a box"),
    (
        {"images": [image(7, "b.png"), image(5, "x.png")]},
        "x.png is listed but not there; `train_images` or `images` names",
    ),
    ({"images": [image(7, "t.png")]}, "t.png is both to train and to test on; take it out of one of the JSON files"),
]


@pytest.mark.parametrize(("given", "message"), BROKEN)
def test_broken_entries(folder, given, message):
    write(folder, "train", **({"images": FILES, "annotations": [box(7)]} | given))
    assert refusal(params_of(folder)).startswith(("coco: train.json: " + message, "coco: " + message))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [],\n}', "train.json:2: it is no JSON (Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "train.json: it cannot be read (RecursionError"),
        ("[]", "train.json: it is no file of COCO's annotations, which has the lists images, annotations, categories"),
        ('{"images": []}', "the lists images, annotations, categories, and has no list annotations"),
        ('{"images": [], "annotations": 1, "categories": []}', "categories, and has no list annotations"),
        (b"\xff\xfe\x00", "train.json: it cannot be read (UnicodeDecodeError"),
    ],
)
def test_damaged_files(folder, text, message):
    (folder / "train.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message in refusal(params_of(folder))


def test_files_that_are_absent_or_of_other_classes(folder):
    message = "coco: there is no file trian.json; a JSON file with COCO's annotations belongs there"
    assert refusal(params_of(folder, train=folder / "trian.json")) == message
    write(folder, "test", [image(1, "t.png")], [box(1, id=4)], [{"id": 3, "name": "cars"}])
    problem = "the class 'cars' is none of those to train on; did you mean 'car'?"
    assert refusal(params_of(folder)) == f"coco: test.json: annotation 4 of t.png: {problem}"
