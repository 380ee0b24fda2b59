"""Data sets of a user's own files in a plan: keys over the training split, sizes, and images that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchbench.costs.image_check import check_images
from benchbench.data.images import ImageDataset
from benchbench.errors import SuiteError
from benchbench.planning.model import Plan
from benchbench.planning.test_part import finished_record, is_trained
from benchbench.reports.plan_overview import overview
from benchbench.running.schedule import Schedule
from benchbench.specs import parts
from benchbench.specs.records import Cost, TrainingMetrics, TrainingRecord
from benchbench.store import Store
from tests.objects import write_objects
from tests.plans import keys
from tests.segments import write_squares


@pytest.fixture
def folder(tmp_path):
    """Eight training and four test images of two classes."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.jpg")
    return tmp_path / "images"


@pytest.fixture
def plan(folder, tiny_suite, plan_of, tmp_path):
    """() -> a plan of a suite on the folder as it is now."""
    arms = {"scratch": {"method": "scratch"}, "probe": {"method": "distill", "loss": {"ce": 1, "kd": 1}}}
    path = tiny_suite(tmp_path / "suite", data={"own": {"source": {"imagefolder": {"path": str(folder)}}}}, arms=arms)
    return lambda *changes: plan_of(path, *changes)


ALL = ("cell", "teacher", "outputs")


class TestKeys:
    def test_hold_the_training_images_alone(self, plan, folder):
        before = keys(plan(), ALL)
        (folder / "test" / "cat" / "0.jpg").write_bytes((folder / "test" / "dog" / "0.jpg").read_bytes())
        (folder / "test" / "cat" / "9.jpg").write_bytes((folder / "test" / "dog" / "1.jpg").read_bytes())
        (folder / "train" / "cat" / "notes.txt").write_text("no image")
        (folder / "README.md").write_text("what this is")
        assert keys(plan(), ALL) == before
        (folder / "train" / "cat" / "0.jpg").write_bytes((folder / "train" / "dog" / "0.jpg").read_bytes())
        assert not set(keys(plan(), ALL)) & set(before)

    def test_do_not_hold_the_place(self, plan, folder, tmp_path):
        before = keys(plan(), ALL)
        folder.rename(tmp_path / "moved")
        source = f"data.own.source={{imagefolder: {{path: {tmp_path / 'moved'}}}}}"
        assert keys(plan(source), ALL) == before

    def test_do_not_hold_a_variable_of_the_environment(self, plan, folder, monkeypatch):
        monkeypatch.setenv("HERE", str(folder.parent))
        assert keys(plan("data.own.source={imagefolder: {path: $HERE/images}}"), ALL) == keys(plan(), ALL)
        with pytest.raises(SuiteError, match=r"the environment variable 'HRE' of '\$HRE/images' is not set"):
            plan("data.own.source={imagefolder: {path: $HRE/images}}")

    def test_hold_how_files_are_read(self, plan, folder):
        turned = f"data.own.source={{imagefolder: {{path: {folder}, exif: apply}}}}"
        assert not set(keys(plan(turned), ALL)) & set(keys(plan(), ALL))

    def test_the_test_split_stands_in_the_spec(self, plan, folder):
        def tested() -> str:
            (hashes,) = {tuple(parts.tests_only(stage.spec.as_json())) for stage in plan().stages.values()}
            return hashes[0]

        before = tested()
        (folder / "test" / "cat" / "0.jpg").unlink()
        assert tested() != before


class TestChangedTestSplit:
    """A finished stage is kept, and tested again."""

    def finish(self, plan: Plan, store: Store) -> None:
        for stage in plan.stages.values():
            folder = store.stage(stage.kind, stage.key)
            folder.path.mkdir(parents=True)
            folder.write_spec(stage.spec)
            record = TrainingRecord(
                kind=stage.kind,
                key=stage.key,
                metrics=TrainingMetrics(test_accuracy=0.5, test_count=4, chosen_epoch=1),
                data={"names": ("cat", "dog"), "train": 8},
                model={"parameters": 1},
                environment={"device": "cpu"},
                label=stage.label,
                cost=Cost(
                    seconds={}, alone_seconds={}, devices=1, unit="CPU-hours", device_hours=0, alone_device_hours=0
                ),
            )
            folder.write_record(record)

    def test_is_no_longer_done_until_it_is_tested_again(self, plan, folder, tmp_path):
        store, before = Store(tmp_path / "runs"), plan()
        self.finish(before, store)
        assert {state.name for state in overview(before, store).states.values()} == {"done"}
        (folder / "test" / "cat" / "0.jpg").unlink()
        after = plan()
        assert {state.name for state in overview(after, store).states.values()} == {"test again"}
        schedule = Schedule(after, store, 8)
        assert set(schedule.waiting) == set(after.stages)
        assert all(schedule.is_alone(stage) for stage in after.stages.values())

    def test_a_kill_in_between_loses_nothing(self, plan, folder, tmp_path):
        """The worker sets the record aside before it writes the new spec, which would make the old record good."""
        store, (stage, *_) = Store(tmp_path / "runs"), plan().stages.values()
        self.finish(plan(), store)
        place = store.stage(stage.kind, stage.key)
        place.record.replace(place.earlier_record)
        assert finished_record(stage, store) is None
        assert is_trained(stage, store)


class TestImagesThatCannotBeRead:
    def test_are_refused_with_the_line_of_the_suite_and_their_number(self, plan, folder, tmp_path):
        for name in ("cat/0.jpg", "dog/1.jpg"):
            file = folder / "test" / name
            file.write_bytes(file.read_bytes()[:300])
        with pytest.raises(SuiteError) as caught:
            check_images(plan(), Store(tmp_path / "runs"), tmp_path)
        text = str(caught.value)
        assert "suite.yaml:" in text
        assert "test/cat/0.jpg (OSError" in text
        assert text.endswith(", and 1 more of the test split; repair or remove such files")

    def test_are_found_in_the_training_split(self, plan, folder, tmp_path):
        (folder / "train" / "cat" / "0.jpg").write_bytes(b"")
        with pytest.raises(SuiteError, match=r"train/cat/0\.jpg \(it is empty, of 0 bytes\); repair or remove"):
            check_images(plan(), Store(tmp_path / "runs"), tmp_path)

    def test_masks_are_read_too(self, tiny_suite, plan_of, tmp_path, monkeypatch):
        monkeypatch.setattr("benchbench.data.sources.maskfolder.DECODED", 1)  # of each part the first, by the plan
        own = write_squares(tmp_path / "squares", 4, 2)
        source = {"maskfolder": {"path": str(own), "classes": ["background", "square"]}}
        plan = plan_of(tiny_suite(tmp_path / "suite", data={"own": {"source": source}}))
        assert check_images(plan, Store(tmp_path / "runs"), tmp_path) == []
        Image.new("L", (16, 16), 7).save(own / "train" / "masks" / "002.png")
        plan = plan_of(tiny_suite(tmp_path / "suite", data={"own": {"source": source}}))
        with pytest.raises(SuiteError, match=r"masks/002\.png holds the value 7, of no class; .*; repair or remove"):
            check_images(plan, Store(tmp_path / "runs"), tmp_path)

    def test_boxes_are_read_too(self, tiny_suite, plan_of, tmp_path, monkeypatch):
        monkeypatch.setattr("benchbench.data.sources.own_boxes.SAMPLE", 1)  # of each part the first, by the plan
        own = write_objects(tmp_path / "own", 4, 2)
        source = {"coco": {"train": str(own / "train.json"), "test": str(own / "test.json")}}
        parts = {"data": {"own": {"source": source}}, "arms": {"direct": {"method": "scratch"}}, "teachers": None}
        suite = tiny_suite(tmp_path / "suite", **parts)
        assert check_images(plan_of(suite), Store(tmp_path / "runs"), tmp_path) == []
        Image.new("RGB", (16, 16)).save(own / "train" / "002.png")
        with pytest.raises(SuiteError, match=r"train\.json has boxes of an image of 32 x 32 .* repair or remove such"):
            check_images(plan_of(suite), Store(tmp_path / "runs"), tmp_path)

    def test_repairing_one_changes_no_key(self, plan, folder, tmp_path):
        file, store = folder / "test" / "cat" / "0.jpg", Store(tmp_path / "runs")
        whole, before = file.read_bytes(), keys(plan(), ALL)
        file.write_bytes(whole[:300])
        with pytest.raises(SuiteError):
            check_images(plan(), store, tmp_path)
        file.write_bytes(whole)
        assert check_images(plan(), store, tmp_path) == []
        assert keys(plan(), ALL) == before

    def test_each_image_is_decoded_once(self, plan, folder, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        store, splits = Store(tmp_path / "runs"), []
        whole = ImageDataset.__len__
        monkeypatch.setattr(ImageDataset, "__len__", lambda images: splits.append(whole(images)) or whole(images))
        check_images(plan(), store, tmp_path)
        assert set(splits) == {4, 8}
        splits.clear()
        check_images(plan(), store, tmp_path)
        assert splits == []
        (folder / "test" / "cat" / "0.jpg").write_bytes((folder / "test" / "cat" / "1.jpg").read_bytes())
        check_images(plan(), store, tmp_path)
        assert set(splits) == {4}  # the training split is as it was

    def test_many_are_left_to_a_run(self, plan, folder, tmp_path, monkeypatch):
        monkeypatch.setattr("benchbench.costs.image_check.CHEAP_FILES", 4)
        (folder / "train" / "cat" / "0.jpg").write_bytes(b"")
        assert check_images(plan(), Store(tmp_path / "runs"), tmp_path, only_cheap=True) == ["own (train)"]

    def test_do_not_matter_once_all_is_done(self, plan, folder, tmp_path):
        store = Store(tmp_path / "runs")
        TestChangedTestSplit().finish(plan(), store)
        check_images(plan(), store, tmp_path)


class TestSizes:
    def test_a_single_image_of_a_class_cannot_be_held_out(self, tiny_suite, plan_of, tmp_path):
        with pytest.raises(SuiteError, match="'cifar' has one training image of each class, and none to spare"):
            plan_of(tiny_suite(tmp_path), "data.cifar.per_class=1", "selection={rule: best, validation: 0.5}")

    @pytest.mark.parametrize(
        ("change", "note"),
        [
            (
                "data.cifar.fraction=1e-9",
                "fraction 1e-09 is less than one image of each class; one is taken: 10 images",
            ),
            (
                "selection={rule: best, validation: 0.9999}",
                "validation 0.9999 leaves less than one image of each class",
            ),
            (
                "data.cifar.fraction=0.005",
                "fraction 0.005 is less than one image of each class; one is taken: 10 images",
            ),
            (
                "selection={rule: best, validation: 0.001}",
                "validation 0.001 is less than one image of each class; one is ",
            ),
        ],
    )
    def test_that_are_raised_are_noted(self, change, note, tiny_suite, plan_of, tmp_path):
        plan = plan_of(tiny_suite(tmp_path, data={"cifar": {"source": "cifar10_subset"}}), change)
        assert note in plan.info["cifar"].note

    def test_more_than_the_smallest_class_has_is_refused(self, plan, folder):
        (folder / "train" / "dog" / "0.jpg").unlink()
        plan("data.own.per_class=3")
        with pytest.raises(SuiteError, match=r"per_class: 4 asks for more .*; 'own' has 3 in its smallest class"):
            plan("data.own.per_class=4")

    def test_one_class_is_refused(self, plan, folder):
        for split in ("train", "test"):
            for file in (folder / split / "dog").iterdir():
                file.unlink()
            (folder / split / "dog").rmdir()
        with pytest.raises(SuiteError, match="data set 'own' has one class"):
            plan()


class TestOwnValidation:
    """Images that the data set itself holds out."""

    @pytest.fixture
    def split(self, folder):
        """All twelve images in one folder, of which the source draws four to test and two to validate on."""
        for label in ("cat", "dog"):
            for number in range(2):
                (folder / "test" / label / f"{number}.jpg").rename(folder / "train" / label / f"{number + 4}.jpg")
            (folder / "test" / label).rmdir()
        (folder / "test").rmdir()
        return f"data.own.source={{imagefolder: {{path: {folder}, split: {{test: 0.3, validation: 0.2}}}}}}"

    def test_is_what_epochs_are_chosen_by(self, plan, split):
        planned = plan(split, "selection={rule: best, validation: 0.5}")
        info = planned.info["own"]
        assert (info.train, info.validation, info.test) == (6, 2, 4)
        (spec, *_) = [stage.spec for stage in planned.stages.values() if stage.kind == "cell"]
        assert (planned.train_images(spec.data, "own"), planned.validation_images(spec.data, "own")) == (6, 2)
        assert len(plan(split, "selection=best").cells) == len(planned.cells)

    def test_is_needed_where_the_suite_holds_none_out(self, plan):
        with pytest.raises(SuiteError, match=r"rule 'best' needs a validation split \(validation: 0\.1\)"):
            plan("selection=best")

    def test_is_part_of_the_key(self, plan, split, folder):
        with_own = split.replace("{test: 0.3, validation: 0.2}", "{test: 0.3, validation: 0.2, seed: 1}")
        assert not set(keys(plan(split), ALL)) & set(keys(plan(with_own), ALL))

    def test_a_misspelt_share_has_its_place(self, plan, split):
        with pytest.raises(SuiteError, match=r"imagefolder\.split\.tset: unknown key 'tset'; did you mean 'test'"):
            plan(split.replace("test:", "tset:"))
