"""The choice of the label column and its classes, on parquet files as pandas, Arrow and Hugging Face write them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchbench.data.sources.huggingface import HuggingFaceParams, load
from benchbench.errors import DataError

TEXT = ["b", "a", "c"] * 4
IDS = list(range(0, 1200, 100))
ABC = {"_type": "ClassLabel", "names": ["a", "b", "c"]}


@pytest.fixture
def folder(tmp_path, png):
    """(columns, test columns, metadata) -> a folder of two files of 12 images."""
    picture = png(0)

    def write(columns, test=None, features=None):
        for split, given in (("train", columns), ("test", test or columns)):
            rows = len(next(iter(given.values())))
            table = pa.table({"image": pa.array([{"bytes": picture, "path": None}] * rows), **given})
            metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
            pq.write_table(table.replace_schema_metadata(metadata), tmp_path / f"{split}.parquet")
        return tmp_path

    return write


def labels(folder, split="train", **given):
    images = load(HuggingFaceParams(path=folder, **given), folder, split)
    return images.classes, images.labels.tolist()


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (TEXT, ("a", "b", "c")),
        (pa.array(TEXT, pa.large_string()), ("a", "b", "c")),
        (pa.array(TEXT).dictionary_encode(), ("a", "b", "c")),
        ([2, 1, 3] * 4, ("1", "2", "3")),
        ([10, 5, 2_000_000_000] * 4, ("5", "10", "2000000000")),
        ([1.0, 0.0, 2.0] * 4, ("0", "1", "2")),
        (pa.array([7, 3, 8] * 4, pa.uint8()).dictionary_encode(), ("3", "7", "8")),
    ],
)
def test_classes_are_the_sorted_distinct_labels(values, classes, folder):
    place = folder({"label": values, "image_id": IDS})
    assert labels(place) == (classes, [1, 0, 2] * 4)
    info = HuggingFaceParams(path=place).info(place)
    assert info.classes == 3
    mapped = f"the classes are the 3 values of the column 'label', sorted: {', '.join(classes)}"
    assert info.note == ("" if classes == ("0", "1", "2") else mapped)


def test_truth_values_are_labels(folder):
    assert labels(folder({"is_cat": [True, False, True] * 4})) == (("False", "True"), [1, 0, 1] * 4)


@pytest.mark.parametrize(
    ("columns", "features", "chosen"),
    [
        ({"Label": TEXT, "Image_ID": IDS}, None, "Label"),
        ({"label": TEXT, "target": [0, 1, 2] * 4}, None, "label"),
        ({"category": TEXT, "width": IDS}, None, "category"),
        ({"species": TEXT, "__index_level_0__": IDS, "caption": TEXT}, None, "species"),
        ({"species": [0, 1, 2] * 4, "image_id": IDS}, {"species": ABC}, "species"),
        ({"label": [0, 1, 2] * 4, "kind": [0, 1, 2] * 4}, {"label": ABC, "kind": ABC}, "label"),
    ],
)
def test_the_column_is_chosen_by_name_and_type(columns, features, chosen, folder):
    place = folder(columns, features=features)
    assert labels(place) == labels(place, label=chosen)


@pytest.mark.parametrize(
    ("columns", "features", "match"),
    [
        (
            {"image_id": IDS},
            None,
            r"no columns could be the label column; say which with 'label'; .*image_id \(int64\)",
        ),
        ({"class": TEXT, "target": TEXT}, None, r"2 columns could be the label column \(class, target\)"),
        ({"fine_label": TEXT, "coarse_label": TEXT}, None, r"2 columns .* \(fine_label, coarse_label\)"),
        ({"label": TEXT, "kind": [0, 1, 2] * 4}, {"kind": ABC}, r"2 columns could be the label column \(kind, label\)"),
        ({"code": IDS}, None, r"'code' has 12 values in 12 training rows, too many for a label column"),
        ({"label": [[0], [1, 2], []] * 4, "image_id": IDS}, None, r"'label' holds lists, several labels an image"),
        ({"label": [{"name": "a"}] * 12, "n": IDS}, None, r"'label' holds struct<name: string>, which is no label"),
        ({"label": [0.5, 1.0, 2.0] * 4}, None, r"'label' of .*train\.parquet holds 0\.5; a label is a whole number"),
        (
            {"label": [0.0, float("inf"), 1.0] * 4},
            None,
            r"'label' of .*train\.parquet holds inf; a label is a whole number",
        ),
        ({"label": ["a", None, "b"] * 4}, None, r"train\.parquet, row 1: the column 'label' is empty \(and 3 more"),
        ({"label": ["a", " ", "b"] * 4}, None, r"row 1: the column 'label' is empty"),
        ({"label": [0.0, float("nan"), 1.0] * 4}, None, r"row 1: the column 'label' is empty"),
        ({"label": [0, 1, -1] * 4}, None, r"row 2: the column 'label' is -1, which means unlabelled"),
        ({"label": [0, 1, -1] * 4}, {"label": ABC}, r"row 2: the column 'label' is -1, which means unlabelled"),
        ({"label": [0, 1, 3] * 4}, {"label": ABC}, r"image 2 of the train split has label 3"),
        ({"label": [1, 2, 1] * 4}, {"label": ABC}, r"label 0 'a' never occurs in the training split"),
        ({"label": [0, 1, 2] * 4, "image": ["a.jpg"] * 12}, None, r"'image' holds paths of files and no images"),
        ({"label": TEXT, "image": [{"path": "a.jpg"}] * 12}, None, r"'image' holds paths of files and no images"),
        (
            {
                "label": TEXT,
                "image": pa.array(
                    [{"bytes": None, "path": "a"}] * 12, pa.struct({"bytes": pa.binary(), "path": pa.string()})
                ),
            },
            None,
            r"'image' of .* holds no bytes of images",
        ),
        (
            {"label": TEXT, "image": [{"photo": b"x", "n": 1}] * 12},
            None,
            r"'image' is a struct with images in it \('photo'\)",
        ),
        ({"label": TEXT, "image": [[b"x"]] * 12}, None, r"'image' holds lists of images"),
        (
            {"label": TEXT, "image": [b"x"] * 12, "mask": [b"x"] * 12},
            None,
            r"2 columns could be the image column; say which with 'image'",
        ),
    ],
)
def test_what_is_refused_in_a_plan(columns, features, match, folder):
    place = folder(columns, features=features)
    with pytest.raises(DataError, match=match) as caught:
        HuggingFaceParams(path=place).info(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "test", "match"),
    [
        (TEXT, ["a", "zebra"], r"test\.parquet, row 1: the label 'zebra' is none of the training split's \(a, b, c\)"),
        ([1, 2, 3] * 4, [1, 7], r"test\.parquet, row 1: the label 7 is none of the training split's \(1, 2, 3\)"),
        ([1, 2, 3] * 4, ["1", "2"], r"test\.parquet, row 0: the label '1' is none"),
        ([0, 1, 2] * 4, [-1, -1], r"test\.parquet, row 0: the column 'label' is -1, which means unlabelled"),
    ],
)
def test_the_training_split_defines_the_classes(train, test, match, folder):
    place = folder({"label": train}, {"label": test})
    with pytest.raises(DataError, match=match):
        HuggingFaceParams(path=place).info(place)


def test_a_test_split_may_lack_a_class_and_be_of_another_integer_type(folder):
    place = folder({"label": [5, 6, 9] * 4}, {"label": pa.array([9, 6], pa.int8())})
    assert labels(place, "test") == (("5", "6", "9"), [2, 1])


def test_class_names_as_text(folder):
    place = folder({"label": ["c", "a", "b"] * 4}, features={"label": ABC, "image": {"_type": "Image"}})
    assert labels(place) == (("a", "b", "c"), [2, 0, 1] * 4)


def test_a_column_that_the_user_names_is_taken_as_it_is(folder):
    place = folder({"label": TEXT, "image_id": IDS})
    assert len(labels(place, label="image_id")[0]) == 12
    with pytest.raises(DataError, match=r"column 'image' cannot be the label column"):
        labels(place, label="image")
