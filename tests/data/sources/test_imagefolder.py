"""A user's own folders."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from benchbench.data.info import DataInfo
from benchbench.data.sources.imagefolder import ImageFolderParams, load
from benchbench.errors import DataError


@pytest.fixture
def folder(tmp_path, save_image):
    for seed, name in enumerate(
        [
            "train/dog/b.JPG",
            "train/dog/a.png",
            "train/cat/x.webp",
            "train/cat/deep/y.bmp",
            "test/cat/1.ppm",
            "test/dog/1.jpeg",
        ]
    ):
        save_image(tmp_path / name, seed)
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no image")
    save_image(tmp_path / "train" / "dog" / ".hidden.png")
    save_image(tmp_path / "train" / "dog" / ".checkpoints" / "a.png")
    save_image(tmp_path / "train" / ".cache" / "a.png")
    return tmp_path


def test_order_and_extensions(folder):
    params = ImageFolderParams(path=folder)
    train = load(params, folder, "train")
    assert train.classes == ("cat", "dog")
    assert [file[len(str(folder)) + 1 :] for file in train.image.files] == [
        "train/cat/deep/y.bmp",
        "train/cat/x.webp",
        "train/dog/a.png",
        "train/dog/b.JPG",
    ]
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert load(params, folder, "test").labels.tolist() == [0, 1]
    left_out = "train/: 2 files are left out: 1 .txt (dog/notes.txt), 1 hidden (dog/.hidden.png)"
    assert params.info(folder) == DataInfo(2, 4, 2, left_out, ("cat", "dog"), fewest=2)


def test_pixels_and_pickle(folder):
    image = pickle.loads(pickle.dumps(load(ImageFolderParams(path=folder), folder, "train").image))  # noqa: S301
    with Image.open(folder / "train" / "dog" / "a.png") as expected:
        assert np.array_equal(np.asarray(image(2)), np.asarray(expected))


def test_val_stands_in_for_test_unless_another_name_is_asked_for(folder):
    (folder / "test").rename(folder / "val")
    assert len(load(ImageFolderParams(path=folder), folder, "test")) == 2
    with pytest.raises(DataError, match="holdout is not a folder"):
        load(ImageFolderParams(path=folder, test_folder="holdout"), folder, "test")
    (folder / "val").rename(folder / "holdout")
    assert len(load(ImageFolderParams(path=folder, test_folder="holdout"), folder, "test")) == 2


def test_splits_with_different_classes(folder, save_image):
    save_image(folder / "train" / "bird" / "1.png")
    with pytest.raises(DataError, match="test lacks 'bird'"):
        load(ImageFolderParams(path=folder), folder, "train")
    (folder / "train" / "bird").rename(folder / "test" / "bird")
    with pytest.raises(DataError, match="train lacks 'bird'"):
        ImageFolderParams(path=folder).info(folder)


def test_an_empty_class_folder(folder):
    (folder / "train" / "bird").mkdir()
    (folder / "train" / "bird" / "film.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"bird holds no image \(of \.jpg .*\); 1 file is left out: 1 \.mp4"):
        load(ImageFolderParams(path=folder), folder, "train")


def test_absent_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="train is not a folder"):
        load(ImageFolderParams(path=tmp_path), tmp_path, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="train holds no class folders"):
        load(ImageFolderParams(path=tmp_path), tmp_path, "train")


def test_a_damaged_image_is_named_when_it_is_asked_for(folder):
    (folder / "test" / "cat" / "1.ppm").write_bytes(b"P6 broken")
    images = load(ImageFolderParams(path=folder), folder, "test")
    assert images.image(1).size == (8, 6)
    with pytest.raises(DataError, match=r"test/cat/1\.ppm"):
        images.image(0)


def names_of(params: ImageFolderParams, root, split: str) -> list[str]:
    images = load(params, root, split)
    return [file[len(str(params.path)) + 1 :] for file in images.image.files]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_stand_ins_are_noted(folder, name):
    (folder / "test").rename(folder / name)
    assert f"{name}/ tests, as there is no test/" in ImageFolderParams(path=folder).info(folder).note


def test_a_validation_folder(folder, save_image):
    for number, label in enumerate(("dog", "dog", "cat")):
        save_image(folder / "val" / label / f"{number}.png", number)
    note = "val/ is not read (`validation_folder: val` chooses epochs by it)"
    assert ImageFolderParams(path=folder).info(folder).note.endswith(note)
    params = ImageFolderParams(path=folder, validation_folder="val")
    info, images = params.info(folder), load(params, folder, "train")
    assert (info.train, info.test, info.validation) == (4, 2, 3)
    assert note not in info.note
    assert images.validation.tolist() == [4, 5, 6]
    assert images.labels.tolist() == [0, 0, 1, 1, 0, 1, 1]
    assert names_of(params, folder, "train")[4:] == ["val/cat/2.png", "val/dog/0.png", "val/dog/1.png"]
    assert "../validation/dog/1.png" in params.split_files("train", folder)
    save_image(folder / "val" / "dgo" / "1.png")
    with pytest.raises(DataError, match=r"train lacks 'dgo'"):
        params.info(folder)


@pytest.mark.parametrize(
    ("params", "verbs"),
    [
        ({"test_folder": "val", "validation_folder": "val"}, "test and to validate"),
        ({"test_folder": "./train"}, "train and to test"),
        ({"test_folder": "more/linked"}, "train and to test"),
        ({"validation_folder": "train", "train_folder": "./train", "split": {"test": 0.5}}, "train and to validate"),
    ],
)
def test_a_folder_that_is_two_parts(folder, params, verbs):
    (folder / "test").rename(folder / "val")
    (folder / "more").mkdir()
    (folder / "more" / "linked").symlink_to(folder / "train")
    with pytest.raises(DataError, match=f"the parts are to differ: .*/cat/.* is both to {verbs} on; name other folder"):
        load(ImageFolderParams(path=folder, **params), folder, "train")


@pytest.fixture
def flat(tmp_path, save_image):
    """Ten cats in five sessions of two, four dogs, in one folder."""
    for number in range(10):
        save_image(tmp_path / "flat" / "cat" / f"s{number // 2}" / f"{number}.png", number)
    for number in range(4):
        save_image(tmp_path / "flat" / "dog" / f"{number}.png", number)
    return tmp_path / "flat"


class TestDrawnSplit:
    def test_is_stratified_and_leaves_nothing_out(self, flat):
        params = ImageFolderParams(path=flat, split={"test": 0.2, "validation": 0.2})
        info = params.info(flat)
        assert (info.train, info.validation, info.test, info.names) == (8, 3, 3, ("cat", "dog"))
        train, test = names_of(params, flat, "train"), names_of(params, flat, "test")
        assert sum(name.startswith("cat") for name in test) == 2
        assert len({*train, *test}) == 14
        assert load(params, flat, "train").validation.tolist() == [8, 9, 10]
        assert names_of(params, flat, "test") == test
        files = params.split_files("train", flat)
        assert sum(name.startswith("../validation/") for name in files) == 3
        assert not {*files} & {*params.split_files("test", flat)}
        of_a_stage = ImageFolderParams.model_validate(params.model_dump())  # every parameter is set there
        assert names_of(of_a_stage, flat, "test") == test

    def test_depends_on_its_seed_and_not_on_the_place(self, flat, tmp_path):
        def tested(path, **split):
            return names_of(ImageFolderParams(path=path, split={"test": 0.3, **split}), path, "test")

        before = tested(flat)
        assert any(tested(flat, seed=seed) != before for seed in (1, 2, 3))
        flat.rename(tmp_path / "moved")
        assert tested(tmp_path / "moved") == before

    def test_more_images_hardly_move_others(self, flat, save_image):
        params = ImageFolderParams(path=flat, split={"test": 0.2})
        before = set(names_of(params, flat, "test"))
        save_image(flat / "cat" / "new.png", 99)
        assert len(before - set(names_of(params, flat, "test"))) <= 1

    def test_by_group(self, flat):
        params = ImageFolderParams(path=flat, split={"test": 0.3, "by": "group"})
        parts = {split: {name.split("/")[1] for name in names_of(params, flat, split)} for split in ("train", "test")}
        assert not {name for name in parts["train"] & parts["test"] if name.startswith("s")}
        assert any(name.startswith("s") for name in parts["test"])

    def test_of_the_training_folder(self, flat, tmp_path, save_image):
        (tmp_path / "own").mkdir()
        flat.rename(tmp_path / "own" / "train")
        params = ImageFolderParams(path=tmp_path / "own", split={"test": 0.2})
        assert params.info(tmp_path).test == 3
        save_image(tmp_path / "own" / "test" / "cat" / "1.png")
        with pytest.raises(DataError, match=r"own/test is there already; take `split` out"):
            params.info(tmp_path)

    def test_a_class_called_train(self, flat, save_image):
        for number in range(4):
            save_image(flat / "train" / f"s{number}" / "1.png", 50 + number)
        save_image(flat / "val" / "cat" / "1.png", 60)
        (flat / "notes").mkdir()
        split = {"test": 0.3}
        with pytest.raises(
            DataError, match=r"holds train/ and cat/, dog/: write `train_folder: \.` where all are class"
        ):
            ImageFolderParams(path=flat, split=split).info(flat)
        part = ImageFolderParams(path=flat, split={"test": 0.5}, train_folder="./train")
        with pytest.raises(DataError, match="class 's0' has 1 image"):
            part.info(flat)
        for folder in ("val", "notes"):
            shutil.rmtree(flat / folder)
        assert ImageFolderParams(path=flat, split=split, train_folder=".").info(flat).names == ("cat", "dog", "train")
        for folder in ("cat", "dog"):
            shutil.rmtree(flat / folder)
        save_image(flat / "val" / "s0" / "1.png", 60)
        for number in range(4):
            save_image(flat / "train" / f"s{number}" / "2.png", 70 + number)
        assert ImageFolderParams(path=flat, split=split).info(flat).names == ("s0", "s1", "s2", "s3")

    def test_a_class_called_test(self, flat, save_image):
        for number in range(4):
            save_image(flat / "test" / f"{number}.png", 50 + number)
        with pytest.raises(DataError, match=r"or write `train_folder: \.` where all folders are classes"):
            ImageFolderParams(path=flat, split={"test": 0.3}).info(flat)
        info = ImageFolderParams(path=flat, split={"test": 0.3}, train_folder=".").info(flat)
        assert info.names == ("cat", "dog", "test")

    def test_of_too_few_images(self, flat, save_image):
        save_image(flat / "elk" / "1.png")
        with pytest.raises(DataError, match=r"class 'elk' has 1 image, and `split` leaves none to test on"):
            load(ImageFolderParams(path=flat, split={"test": 0.2}), flat, "test")

    def test_is_advised_where_there_are_no_splits(self, flat):
        with pytest.raises(DataError, match=r"holds cat/, dog/: name .* if these are classes, `split: {test: 0\.2"):
            ImageFolderParams(path=flat).info(flat)

    @pytest.mark.parametrize(
        ("split", "problem"),
        [
            (0.2, r"write shares, as in `{test: 0\.2, by: seed}`"),
            ({"tset": 0.2}, "did you mean 'test'"),
            ({"test": 0.6, "validation": 0.5}, "leave nothing to train on"),
            ({"test": 20}, "less than 1"),
            ({"test": 0.2, "by": "name"}, "'seed' or 'group'"),
        ],
    )
    def test_what_is_no_split(self, flat, split, problem):
        with pytest.raises(ValueError, match=problem):
            ImageFolderParams(path=flat, split=split)
