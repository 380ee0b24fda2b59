"""Stages behind each arm: shared and in full, ranges of estimates, and teachers that are priced on request."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.foundations import COLUMNS, foundations


def rows(table) -> dict[str, list[str]]:
    return {entries[0].text: [entry.text for entry in entries[1:]] for entries in table.rows}


def test_every_column(finished):
    table = foundations(finished.frame(), finished.plan)
    assert table.columns == ["arm", *COLUMNS, "n"]
    # The teacher's 6 hours are shared by three runs; the student's pre-training takes 2 hours.
    assert rows(table) == {
        "scratch": ["2.00", "0", "0", "0", "0", "2.00", "2.00", "3"],
        "probe": ["0.500", "0", "0", "2.00", "0", "2.50", "2.50", "3"],
        "tune": ["4.00", "0", "0", "2.00", "0", "6.00", "6.00", "3"],
        "distil, big (scratch)": ["3.00", "2.00", "6.00", "0", "0", "5.00", "9.00", "3"],
    }
    assert any("price_teachers: true" in note for note in table.notes)


def test_the_estimate_s_range_is_that_of_the_throughput(finished):
    for key, stage in finished.plan.stages.items():
        if stage.kind == "calibration":
            rate = finished.record(key).metrics.images_per_second
            finished.change(key, "metrics", images_per_second_range=(rate / 2, rate * 4))
    assert rows(foundations(finished.frame(), finished.plan))["tune"][3] == "2.00 [0.500, 4.00]"


class TestTeachers:
    @pytest.fixture
    def lab_with_teacher(self, make_lab):
        def make(**teacher):
            weights = {"weights": {"file": "weights.bin"}, "adapt": ["finetune"]}
            teachers = {"big": {"model": "timm/test_efficientnet", **weights, **teacher}}
            lab = make_lab(teachers=teachers, price_teachers=True)
            lab.finish(lab.teacher(), hours=6.0)
            lab.finish_arm("distil", [0.5] * 3, [3.0] * 3)
            lab.calibrate(images_per_second=50.0)
            return lab

        return make

    def test_public_weights_are_taken_as_given_where_the_suite_does_not_ask(self, make_lab):
        public = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}, "adapt": ["finetune"]}
        lab = make_lab(teachers={"big": public})
        lab.finish(lab.teacher(), hours=6.0)
        lab.finish_arm("distil", [0.5] * 3, [3.0] * 3)
        texts = rows(foundations(lab.frame(), lab.plan))["distil, big (finetune)"]
        assert texts == ["3.00", "2.00", "6.00", "0", "not priced", "5.00", "9.00", "3"]

    def test_they_are_priced_where_the_suite_asks_for_it(self, lab_with_teacher):
        recipe = {"images": 90_000, "epochs": 10, "image_size": 32, "source": "a paper"}  # 5 hours at 50 images/s
        lab = lab_with_teacher(pretraining=recipe)
        table = foundations(lab.frame(), lab.plan)
        assert rows(table)["distil, big (finetune)"] == ["3.00", "2.00", "6.00", "0", "5.00", "5.00", "14.0", "3"]
        assert any(note.startswith("pre-training of big: an estimate: 90,000 images") for note in table.notes)

    def test_without_a_recipe_nothing_is_made_up(self, lab_with_teacher):
        lab = lab_with_teacher()
        table = foundations(lab.frame(), lab.plan)
        assert rows(table)["distil, big (finetune)"][4:7] == ["n/a", "5.00", "n/a"]
        assert "pre-training of big: no recipe is known" in table.notes

    def test_published_hours_are_in_a_note_and_not_added(self, lab_with_teacher):
        lab = lab_with_teacher(pretraining={"hours": 8000, "hours_on": "A100", "source": "a card"})
        table = foundations(lab.frame(), lab.plan)
        assert rows(table)["distil, big (finetune)"][4] == "n/a"
        assert "pre-training of big: 8,000 A100 hours as stated (a card)" in table.notes

    def test_beside_one_that_the_suite_pretrains_the_recipe_is_of_the_public_one(self, make_lab):
        recipe = {"images": 90_000, "epochs": 10, "image_size": 32, "source": "a paper"}
        network = {"model": "timm/test_efficientnet", "adapt": ["finetune"]}
        teachers = {
            "own": {**network, "weights": {"pretraining": "corpus"}},
            "public": {**network, "weights": {"file": "weights.bin"}, "pretraining": recipe},
        }
        arm = {"method": "distill", "teachers": dict.fromkeys(teachers, 1), "loss": {"ce": 1, "kd": 1}}
        corpus = {"corpus": {"data": {"source": "cifar10_subset", "fraction": 0.1}}}
        lab = make_lab(pretraining=corpus, teachers=teachers, arms={"distil": arm}, price_teachers=True)
        for key, stage in lab.plan.stages.items():
            if stage.kind != "calibration":
                lab.finish(key)
        (note,) = (each for each in foundations(lab.frame(), lab.plan).notes if each.startswith("pre-training of"))
        assert note.startswith("pre-training of public: an estimate: 90,000 images")

    def test_pricing_them_is_part_of_no_key(self, lab_with_teacher, make_lab):
        priced = lab_with_teacher(pretraining={"images": 9, "epochs": 1, "image_size": 32, "source": "a paper"})
        plain = make_lab(teachers=priced.plan.file.source.root["teachers"])
        assert plain.plan.key == priced.plan.key
        assert "calibration" in {stage.kind for stage in priced.plan.stages.values()}


def test_nothing_done_nothing_shown(lab):
    assert foundations(lab.frame(), lab.plan) is None
