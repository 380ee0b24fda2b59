"""A user's own images with masks."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from benchbench.data.images import IGNORED
from benchbench.data.info import DataInfo
from benchbench.data.sources.maskfolder import MaskFolderParams, load
from benchbench.errors import DataError

CELLS = ["background", "cell"]
HALF = np.tile(np.array([0, 0, 0, 0, 1, 1, 1, 1], np.uint8), (6, 1))  # as large as `save_image` writes images


@pytest.fixture
def save_pair(save_image):
    """(folder of the part, name, values) -> writes images/NAME.jpg and masks/NAME.png."""

    def save(folder, name, values=HALF, seed=0):
        save_image(folder / "images" / f"{name}.jpg", seed)
        (folder / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(folder / "masks" / f"{name}.png")

    return save


@pytest.fixture
def folder(tmp_path, save_pair):
    """Three images to train on, one of them in a sub-folder, and one to test on."""
    for seed, name in enumerate(("b", "a", "deep/c")):
        save_pair(tmp_path / "own" / "train", name, seed=seed)
    save_pair(tmp_path / "own" / "test", "a", seed=9)
    return tmp_path / "own"


def params_of(folder, classes=CELLS, **given):
    return MaskFolderParams(path=folder, classes=classes, **given)


def names_of(params, split):
    images = load(params, params.path, split)
    assert [mask.rsplit(".")[0] for mask in images.mask.masks] == [
        image.rsplit(".")[0].replace("images", "masks") for image in images.image.files
    ]
    return [image.split("images/")[1] for image in images.image.files]


def refusal(params, split="train"):
    """The one line that refuses to plan and to load."""
    messages = []
    for refused in (lambda: params.info(params.path), lambda: load(params, params.path, split)):
        with pytest.raises(DataError) as caught:
            refused()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]
    return messages[0]


class TestFolders:
    def test_pairs_by_name(self, folder, save_image):
        (folder / "train" / "images" / "notes.txt").write_text("no image")
        save_image(folder / "train" / "images" / ".hidden.png")
        Image.fromarray(HALF).save(folder / "train" / "masks" / "spare.png")
        params = params_of(folder)
        note = (
            "train/: 3 files are left out: 1 .txt (images/notes.txt), 1 hidden (images/.hidden.png), 1 without an "
            "image (masks/spare.png)"
        )
        assert params.info(folder) == DataInfo(2, 3, 1, note, ("background", "cell"), task="segmentation")
        assert names_of(params, "train") == ["a.jpg", "b.jpg", "deep/c.jpg"]
        assert names_of(params, "test") == ["a.jpg"]
        images = load(params, folder, "train")
        assert (images.labels.tolist(), images.labels.dtype) == ([0, 0, 0], np.int64)
        assert (images.classes, images.array, images.validation) == (("background", "cell"), None, None)
        mask = pickle.loads(pickle.dumps(images.mask))  # noqa: S301 (its own bytes)
        assert (mask(2).dtype, mask(2).tolist()) == (np.uint8, HALF.tolist())

    def test_keys_hold_images_and_masks_of_a_split(self, folder):
        params = params_of(folder)
        files = params.split_files("train", folder)
        assert sorted(files) == [
            *("image/a.jpg", "image/b.jpg", "image/deep/c.jpg"),
            *("mask/a.png", "mask/b.png", "mask/deep/c.png"),
        ]
        assert files["mask/deep/c.png"] == folder / "train" / "masks" / "deep" / "c.png"
        assert sorted(params.split_files("test", folder)) == ["image/a.jpg", "mask/a.png"]

    def test_a_validation_folder(self, folder, save_pair):
        save_pair(folder / "val", "v")
        assert "val/ is not read (`validation_folder: val`" in params_of(folder).info(folder).note
        params = params_of(folder, validation_folder="val")
        info, images = params.info(folder), load(params, folder, "train")
        assert (info.train, info.test, info.validation, info.note) == (3, 1, 1, "")
        assert images.validation.tolist() == [3]
        assert names_of(params, "train")[3] == "v.jpg"
        assert "../validation/mask/v.png" in params.split_files("train", folder)

    @pytest.mark.parametrize("name", ["val", "valid", "validation"])
    def test_stand_ins_are_noted(self, folder, name):
        (folder / "test").rename(folder / name)
        info = params_of(folder).info(folder)
        assert (info.test, info.note) == (1, f"{name}/ tests, as there is no test/")

    def test_other_names_and_a_suffix(self, folder):
        train = folder / "train"
        train.rename(folder / "learn")
        for name in ("images", "masks"):
            for part in ("learn", "test"):
                (folder / part / name).rename(folder / part / {"images": "jpg", "masks": "gt"}[name])
        for file in [*folder.rglob("*.png")]:
            file.rename(file.with_name(f"{file.stem}_mask.PNG"))
        given = {"train_folder": "learn", "images_folder": "jpg", "masks_folder": "gt"}
        params = params_of(folder, mask_suffix="_mask", **given)
        assert params.info(folder).train == 3
        assert load(params, folder, "train").mask(0).tolist() == HALF.tolist()
        problem = refusal(params_of(folder, **given))
        assert "3 of 3 images have no mask of the same name in" in problem
        assert problem.endswith("jpg/a.jpg, ...; there is a_mask.PNG: `mask_suffix: _mask`")

    def test_a_suffix_that_is_not_there(self, folder):
        problem = refusal(params_of(folder, mask_suffix="_mask"))
        assert problem.endswith("; the mask has the name of its image: take `mask_suffix` out")

    def test_channels(self, folder):
        params = params_of(folder, channels=1)
        assert params.info(folder).channels == 1
        assert load(params, folder, "train").pixels(0).shape == (6, 8, 1)


class TestValues:
    def test_of_names_and_of_several(self, folder):
        values = HALF * 255
        values[0, :3] = (7, 8, 99)
        for file in folder.rglob("*.png"):
            Image.fromarray(values).save(file)
        # Numbers are by value, since records of stages sort names.
        params = params_of(folder, {"cell": 255, "other": [8, 7], "background": 0}, ignore=[99, 3])
        assert params.info(folder).names == ("background", "other", "cell")
        again = MaskFolderParams.model_validate(json.loads(json.dumps(params.model_dump(mode="json"), sort_keys=True)))
        for each in (params, again):
            images = load(each, folder, "train")
            assert images.classes == ("background", "other", "cell")
            assert images.mask(0)[0].tolist() == [1, 1, IGNORED, 0, 2, 2, 2, 2]

    def test_a_class_goes_before_what_is_ignored(self, folder):
        for file in folder.rglob("*.png"):
            Image.fromarray(HALF * 255).save(file)
        images = load(params_of(folder, {"background": 0, "cell": 255}), folder, "train")
        assert images.mask(0).tolist() == HALF.tolist()

    def test_a_value_without_a_class(self, folder):
        Image.fromarray(HALF * 5).save(folder / "train" / "masks" / "b.png")
        with pytest.raises(DataError) as caught:
            params_of(folder).info(folder)
        assert str(caught.value).endswith(
            "masks/b.png holds the value 5, of no class; name its class (`classes: {NAME: 5, ...}`), or leave it out "
            "of count (`ignore: [255, 5]`)"
        )
        images = load(params_of(folder), folder, "train")
        assert images.mask(0).max() == 1
        with pytest.raises(DataError, match=r"b\.png holds the value 5"):
            images.mask(1)
        assert load(params_of(folder, ignore=[255, 5]), folder, "train").mask(1).max() == IGNORED

    def test_black_and_white_masks_are_not_taken_for_an_empty_class(self, folder):
        for file in folder.rglob("*.png"):
            Image.fromarray(HALF * 255).save(file)
        with pytest.raises(DataError) as caught:
            params_of(folder).info(folder)
        assert str(caught.value).endswith(
            "hold no class but background, and the value 255, which is ignored; if it is a class, write `classes: "
            "{background: 0, cell: 255}`; if not, `ignore: 255`"
        )
        assert params_of(folder, ignore=255).info(folder).train == 3

    def test_classes_are_asked_for(self, folder):
        with pytest.raises(DataError) as caught:
            MaskFolderParams(path=folder).info(folder)
        assert str(caught.value) == (
            "maskfolder: the masks hold values (0, 1 in those looked at); name their classes: `classes: [background, "
            "cell]` for masks of 0 and 1, or `classes: {background: 0, cell: 255}` for other values"
        )
        with pytest.raises(DataError, match="give the classes of the values in masks"):
            load(MaskFolderParams(path=folder), folder, "train")

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ({"classes": 2}, r"write `classes: \[background, cell\]`"),
            ({"classes": []}, r"write `classes: \[background, cell\]`"),
            ({"classes": {0: "background", 255: "cell"}}, r"write `classes: \[background, cell\]`"),
            ({"classes": ["a", "b", "a"]}, "two classes are named 'a'"),
            ({"classes": {"a": 0, "b": "one"}}, r"whole numbers from 0 to 65535, as in {background: 0"),
            ({"classes": {"a": 0, "b": []}}, "whole numbers from 0 to 65535"),
            ({"classes": {"a": 0, "b": [1, -1]}}, "whole numbers from 0 to 65535"),
            ({"classes": {"a": 0, "b": True}}, "whole numbers from 0 to 65535"),
            ({"classes": {"a": 0, "b": [1, 0]}}, "the value 0 belongs to two classes"),
            ({"classes": [str(number) for number in range(255)]}, "at most 254 classes, not 255"),
            ({"ignore": "void"}, "write a value of masks"),
            ({"ignore": [255, 0.5]}, "write a value of masks"),
            ({"split": 0.2}, r"write shares, as in `{test: 0\.2, by: seed}`"),
        ],
    )
    def test_what_names_no_values(self, given, problem):
        with pytest.raises(ValidationError, match=problem):
            MaskFolderParams(path="here", **given)


class TestWhatIsWrong:
    def test_an_image_without_a_mask(self, folder, save_image):
        save_image(folder / "train" / "images" / "x.png")
        problem = refusal(params_of(folder))
        assert "1 of 4 images has no mask of the same name in" in problem
        assert problem.endswith("images/x.png; add the masks, or take the images out")

    def test_two_files_of_one_name(self, folder, save_image):
        save_image(folder / "train" / "images" / "a.png")
        assert "images/a.png and a.jpg beside it have one name" in refusal(params_of(folder))

    def test_masks_that_lose_their_values(self, folder, save_image):
        save_image(folder / "train" / "masks" / "x.jpg")
        assert "masks/x.jpg is of a kind that does not keep the values of pixels" in refusal(params_of(folder))

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_colours_and_other_sizes_are_found_in_the_plan(self, folder, part):
        file = folder / part / "masks" / "a.png"
        Image.fromarray(HALF[:4]).save(file)
        with pytest.raises(DataError, match=r"a\.png is 8 x 4 pixels, and its image .*images/a\.jpg 8 x 6"):
            params_of(folder).info(folder)
        Image.fromarray(HALF).convert("RGB").save(file)
        with pytest.raises(DataError, match=r"a\.png has colours \(RGB\)"):
            params_of(folder).info(folder)
        file.write_bytes(b"no image")
        with pytest.raises(DataError, match=r"cannot read the mask .*a\.png"):
            params_of(folder).info(folder)

    def test_folders_that_are_absent_or_empty(self, folder, tmp_path):
        (folder / "test").rename(folder / "holdout")
        assert "own/test is not a folder; name the test part with `test_folder`" in refusal(params_of(folder))
        masks = folder / "train" / "masks"
        masks.rename(folder / "train" / "labels")
        assert "train/masks is not a folder; " in refusal(params_of(folder))
        masks.mkdir()
        assert "train/masks holds no image" in refusal(params_of(folder))
        (folder / "train").rename(folder / "learn")
        assert refusal(params_of(folder)).endswith(
            "should hold train/ and test/, each with images/ and masks/, and holds holdout/, learn/"
        )
        assert refusal(params_of(folder / "learn")).endswith(
            "learn holds images/ itself, `split: {test: 0.2, by: seed}` draws a test part"
        )
        assert "nowhere/train is not a folder" in refusal(params_of(tmp_path / "nowhere"))


@pytest.fixture
def flat(tmp_path, save_pair):
    """Ten images in five sub-folders of two."""
    for number in range(10):
        save_pair(tmp_path / "flat", f"s{number // 2}/{number}", seed=number)
    return tmp_path / "flat"


class TestDrawnSplit:
    def test_takes_its_shares(self, flat):
        params = params_of(flat, split={"test": 0.2, "validation": 0.2})
        info, images = params.info(flat), load(params, flat, "train")
        assert (info.train, info.validation, info.test, info.note) == (6, 2, 2, "")
        assert images.validation.tolist() == [6, 7]
        assert len({*names_of(params, "train"), *names_of(params, "test")}) == 10
        files = params.split_files("train", flat)
        assert sum(name.startswith("../validation/") for name in files) == 4  # images and masks
        assert not {*files} & {*params.split_files("test", flat)}

    def test_does_not_depend_on_the_place(self, flat, tmp_path):
        before = names_of(params_of(flat, split={"test": 0.3}), "test")
        assert len(before) == 3
        flat.rename(tmp_path / "moved")
        assert names_of(params_of(tmp_path / "moved", split={"test": 0.3}), "test") == before
        seeds = [names_of(params_of(tmp_path / "moved", split={"test": 0.3, "seed": seed}), "test") for seed in (1, 2)]
        assert any(each != before for each in seeds)

    def test_by_group(self, flat):
        params = params_of(flat, split={"test": 0.4, "by": "group"})
        train, test = ({name.split("/")[0] for name in names_of(params, split)} for split in ("train", "test"))
        assert len(test) == 2
        assert not train & test

    def test_of_the_training_folder(self, flat, tmp_path, save_pair):
        (tmp_path / "own").mkdir()
        flat.rename(tmp_path / "own" / "train")
        params = params_of(tmp_path / "own", split={"test": 0.2})
        assert params.info(tmp_path).test == 2
        save_pair(tmp_path / "own" / "test", "a")
        assert "own/test is there already; take `split` out" in refusal(params)

    def test_of_too_few(self, tmp_path, save_pair):
        for number in range(2):
            save_pair(tmp_path, f"one/{number}")
        problem = refusal(params_of(tmp_path, split={"test": 0.5, "by": "group"}))
        assert problem.startswith("maskfolder: 2 images in 1 sub-folder are too few for `split`")
        assert params_of(tmp_path, split={"test": 0.5}).info(tmp_path).test == 1

    def test_validation_is_drawn_or_a_folder(self, flat):
        params = params_of(flat, split={"test": 0.2}, validation_folder="val")
        assert "`split: {validation: ...}` draws one" in refusal(params)


def test_a_folder_that_is_two_parts(folder):
    for params in ({"test_folder": "train"}, {"validation_folder": "test"}):
        assert "the parts are to differ" in refusal(params_of(folder, **params))
