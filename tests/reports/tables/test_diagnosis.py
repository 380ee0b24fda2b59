"""Signs of failure, each from a store with runs that show it, and none from runs that do not."""

from __future__ import annotations

import json
import math

import pytest

from benchbench.reports.report import make_report
from benchbench.reports.tables.diagnosis import diagnosis
from benchbench.reports.tables.diagnosis_rules import LIMITS, SIGNS, at_chance, in_curve, under_floor
from benchbench.specs.records import GradientRecord

SMOOTH = [2.0 * 0.9**epoch + 0.3 for epoch in range(20)]


def curve(losses=SMOOTH, **more):
    """Rows of a curve; keywords give one value an epoch."""
    return [
        {"epoch": epoch, "loss": loss, "train_accuracy": 0.5}
        | {name: values[epoch - 1] for name, values in more.items()}
        for epoch, loss in enumerate(losses, 1)
    ]


@pytest.fixture
def diagnosed(finished):
    """Gives cells of an arm these curves (validated on that many images) and makes the table's rows as text."""

    def make(arm="distil", *curves, validation=0, train=40):
        for cell, rows in zip(finished.cells(arm), curves, strict=False):
            finished.change(cell.stage, "data", validation=validation, train=train)
            finished.folder(cell.stage).curve.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return rows_of(finished)

    return make


def rows_of(lab):
    table = diagnosis(lab.frame(), lab.plan, lab.store)
    return [] if table is None else [[entry.text for entry in row] for row in table.rows]


def rows_with(rows, sign):
    return [row for row in rows if row[3] == SIGNS[sign].name]


@pytest.fixture
def healthy(finished):
    """No sign by accuracy: the distilled student between scratch and fine-tune, its teacher above."""
    finished.finish_arm("distil", [0.78, 0.79, 0.80])
    return finished


def test_no_sign_in_healthy_runs(healthy, diagnosed):
    assert diagnosed("distil", curve(), curve(), curve()) == []
    assert diagnosis(healthy.frame(), healthy.plan, healthy.store) is None


class TestBaselines:
    def test_far_below_fine_tuning(self, finished):
        finished.finish_arm("distil", [0.66, 0.68, 0.70])  # fine-tuned 0.8, scratch 0.667
        (row,) = rows_with(rows_of(finished), "baseline")
        assert row[4:] == ["mean of 3", "68.0 % against 80.0 % of tune: 12.0 points below"]

    def test_not_below_a_distilled_student_that_is_fine_tuned(self, chained):
        (row,) = rows_with(rows_of(chained), "baseline")
        assert row[4:] == ["mean of 3", "60.0 % against 80.0 % of tune: 20.0 points below"]

    def test_below_scratch(self, finished):
        finished.finish_arm("tune", [0.62, 0.62, 0.62])
        finished.finish_arm("distil", [0.55, 0.55, 0.55])
        (row,) = rows_with(rows_of(finished), "baseline")
        assert row[5] == "55.0 % against 66.7 % of scratch: 11.7 points below"

    def test_within_what_the_test_set_can_tell(self, finished):
        """1,000 images: two standard errors of a difference near 65 % are 4.3 points."""
        finished.finish_arm("tune", [0.66, 0.66, 0.66])
        finished.finish_arm("distil", [0.64, 0.64, 0.64])
        assert rows_with(rows_of(finished), "baseline") == []
        half = LIMITS.noise * math.sqrt((0.6667 * 0.3333 + 0.64 * 0.36) / 1000)
        assert half == pytest.approx(0.0425, abs=5e-4)

    def test_arms_that_do_not_distil_are_not_compared(self, finished):
        finished.finish_arm("probe", [0.1, 0.1, 0.1])
        finished.finish_arm("distil", [0.8, 0.8, 0.8])
        assert rows_with(rows_of(finished), "baseline") == []


class TestTeacher:
    @pytest.mark.parametrize(
        ("accuracy", "evidence"),
        [
            (0.40, "teacher 40.0 %, its student 79.0 %"),
            (0.78, None),  # a point below, which 1,000 images cannot tell
            (0.90, None),
        ],
    )
    def test_weaker_than_its_student(self, healthy, accuracy, evidence):
        healthy.finish(healthy.teacher(), accuracy=accuracy)
        assert [row[5] for row in rows_with(rows_of(healthy), "teacher")] == ([evidence] if evidence else [])

    def test_weaker_than_the_student_alone(self, healthy):
        healthy.finish(healthy.teacher(), accuracy=0.5)
        healthy.finish_arm("distil", [0.55, 0.55, 0.55])
        (row,) = rows_with(rows_of(healthy), "teacher")
        assert row[5] == "teacher 50.0 %, the student alone (scratch) 66.7 %"


@pytest.mark.usefixtures("healthy")
class TestCurves:
    def test_a_spike(self, diagnosed):
        losses = [*SMOOTH[:10], SMOOTH[9] + 1.0, *SMOOTH[11:]]
        (row,) = rows_with(diagnosed("distil", curve(), curve(losses), curve()), "unstable")
        assert row[0].startswith("distil, ")
        assert row[4] == "1 of 3"
        gained = SMOOTH[0] - SMOOTH[9]
        assert row[5].startswith(
            f"loss from {SMOOTH[9]:.4g} to {SMOOTH[9] + 1:.4g} in epoch 11, {100 / gained:.0f} % of"
        )

    def test_the_worst_seed_is_the_evidence(self, diagnosed):
        spikes = [[*SMOOTH[:10], SMOOTH[9] + height, *SMOOTH[11:]] for height in (1.0, 3.0, 2.0)]
        (row,) = rows_with(diagnosed("distil", *map(curve, spikes)), "unstable")
        assert row[4] == "3 of 3"
        assert f"to {SMOOTH[9] + 3:.4g} in" in row[5]

    def test_losses_below_zero_have_spikes_too(self, diagnosed):
        """Uniformity is negative, and so is a loss with it."""
        losses = [loss - 5 for loss in SMOOTH]
        losses[10] += 1.5
        assert rows_with(diagnosed("distil", curve(losses)), "unstable")

    def test_noise_is_no_spike(self, diagnosed):
        losses = [loss + 0.05 * (-1) ** index for index, loss in enumerate(SMOOTH)]
        assert rows_with(diagnosed("distil", curve(losses), curve([1.0, 1.1] * 10)), "unstable") == []

    def test_a_loss_that_ends_above_its_beginning(self, diagnosed):
        (row,) = rows_with(diagnosed("scratch", curve(SMOOTH[::-1])), "unstable")
        assert row[0] == "scratch"
        assert row[5] == f"loss {SMOOTH[-1]:.4g} after the first epoch, {SMOOTH[0]:.4g} after the last"

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
    def test_a_run_whose_loss_is_no_number(self, healthy, value):
        key = healthy.cells("distil")[1].stage
        healthy.folder(key).record.unlink()
        reason = f"loss is {value} in epoch 3 (terms: kd); lower the rate or the term's weight"
        healthy.fail(key, reason)
        (row,) = rows_with(rows_of(healthy), "unstable")
        assert row[4:] == ["1 of 3", reason]

    def test_a_run_that_failed_for_another_reason(self, healthy):
        key = healthy.cells("distil")[1].stage
        healthy.folder(key).record.unlink()
        healthy.fail(key, "its worker process was killed by SIGKILL")
        assert rows_of(healthy) == []

    def test_still_gaining_at_the_end(self, diagnosed):
        rising = [0.3 + 0.02 * epoch for epoch in range(20)]
        rows = diagnosed("distil", curve(validation_accuracy=rising), validation=5000)
        (row,) = rows_with(rows, "slow")
        # Four of twenty epochs: 0.02 x 4 later than the four before, at a mean of 0.3 + 0.02 x 17.5.
        assert row[5] == "validation accuracy gained 8.0 points in the last 4 epochs, to 65.0 %"

    def test_few_validation_images_cannot_tell(self, diagnosed):
        """100 images: two standard errors at 65 % are 9.5 points."""
        rising = [0.3 + 0.02 * epoch for epoch in range(20)]
        assert rows_with(diagnosed("distil", curve(validation_accuracy=rising), validation=100), "slow") == []

    def test_without_validation_the_training_accuracy_tells(self, diagnosed):
        rising = [0.3 + 0.02 * epoch for epoch in range(20)]
        (row,) = rows_with(diagnosed("distil", curve(train_accuracy=rising), train=5000), "slow")
        assert row[5].startswith("training accuracy gained 8.0 points")

    def test_a_plateau_is_the_end(self, diagnosed):
        flat = [min(0.3 + 0.05 * epoch, 0.7) for epoch in range(20)]
        assert rows_with(diagnosed("distil", curve(validation_accuracy=flat), validation=5000), "slow") == []

    @pytest.mark.parametrize("name", ["align_uniform.uniform", "align_uniform.uniform 2"])
    def test_collapse(self, diagnosed, name):
        falling = [-1.0 + 0.05 * epoch for epoch in range(20)]
        (row,) = rows_with(diagnosed("distil", curve(**{name: falling})), "collapse")
        assert row[5] == f"{name} -0.05 after the last epoch"

    def test_spread_embeddings_have_not_collapsed(self, diagnosed):
        assert rows_with(diagnosed("distil", curve(**{"align_uniform.uniform": [-2.5] * 20})), "collapse") == []

    def test_curves_without_the_term_say_nothing_of_collapse(self, diagnosed):
        assert rows_with(diagnosed("distil", curve(**{"srd.uniformity": [0.0] * 20})), "collapse") == []

    def test_overfitting(self, diagnosed):
        (row,) = rows_with(diagnosed("scratch", curve(train_accuracy=[0.99] * 20), train=40), "overfitting")
        assert row[4] == "1 of 3"
        assert row[5] == "training accuracy 99.0 %, test accuracy 50.0 %, with 40 training images"

    def test_a_small_gap_is_none(self, diagnosed):
        rows = diagnosed("tune", [], [], curve(train_accuracy=[0.99] * 20))  # its test accuracy is 0.9
        assert rows_with(rows, "overfitting") == []

    def test_too_few_epochs_say_nothing(self, diagnosed):
        short = curve([1.0, 9.0, 1.0, 9.0], **{"align_uniform.uniform": [0.0] * 4})
        assert diagnosed("distil", short) == []

    def test_a_first_stage_is_not_part_of_it(self, diagnosed):
        """Its loss is another, so a fall or a rise into the second stage says nothing."""
        first = [{"epoch": epoch - 10, "loss": 0.001} for epoch in range(1, 11)]
        assert diagnosed("distil", [*first, *curve()]) == []

    def test_a_damaged_curve_says_nothing(self, healthy, diagnosed):
        folder = healthy.folder(healthy.cells("distil")[0].stage)
        for text in ("{", "[1]\n2\n", "\xff"):
            folder.curve.write_text(text, encoding="latin-1")
            assert rows_of(healthy) == []


def test_every_sign_of_a_report_has_its_rule_and_advice(finished):
    finished.finish(finished.teacher(), accuracy=0.2)
    report = make_report(finished.plan, finished.store, "command")
    (table,) = (table for table in report.tables if table.name == "diagnosis")
    assert {row[3].text for row in table.rows} == {SIGNS["baseline"].name, SIGNS["teacher"].name}
    for sign in ("baseline", "teacher"):
        assert f"{SIGNS[sign].name}: {SIGNS[sign].rule}; try: {SIGNS[sign].advice}" in table.notes


def test_the_thresholds_are_in_the_rules():
    rules = " ".join(sign.rule for sign in SIGNS.values())
    for value in ("10 points", "50 %", "5 usual", "2 points", "20 %", "-0.5", "95 %", "15 points"):
        assert value in rules


def test_no_curve_no_finding():
    assert in_curve([], 0, 0, 0.0) == []


class TestAnswers:
    """Predictions of a network for the test images."""

    @pytest.mark.parametrize(
        ("share", "largest", "is_sign"),
        [
            (1.0, 0.1, True),
            (0.96, 0.1, True),
            (0.94, 0.1, False),
            (0.98, 0.97, False),  # nearly all images are of one class
            (1.0, 0.97, True),
            (1.0, 1.0, False),
            (None, None, False),  # an older record
        ],
    )
    def test_one_class_for_all_images(self, healthy, share, largest, is_sign):
        key = healthy.cells("scratch")[0].stage
        healthy.change(key, "metrics", top_class_share=share, largest_class_share=largest)
        rows = rows_with(rows_of(healthy), "constant")
        evidence = f"one class for {100 * (share or 0):.4g} % of 1,000 test images, of which the largest class has "
        assert [row[4] for row in rows] == (["1 of 3"] if is_sign else [])
        assert all(row[5].startswith(evidence) for row in rows)

    @pytest.mark.parametrize(
        ("spread", "constant", "evidence"),
        [
            (0.004, 0.1, "embeddings differ by 0.4 % of their size"),
            (0.5, 0.99, "99 % of the embedding's dimensions are constant"),
            (0.3, 0.5, None),
            (None, None, None),
        ],
    )
    def test_a_dead_embedding(self, healthy, spread, constant, evidence):
        key = healthy.cells("scratch")[0].stage
        healthy.change(key, "metrics", embedding_spread=spread, constant_dimensions=constant)
        rows = rows_with(rows_of(healthy), "embedding")
        assert [row[5] for row in rows] == ([evidence] if evidence else [])

    @pytest.mark.parametrize(
        ("terms", "evidence"),
        [
            ({"cc": 3e-5, "kd": 0.2}, "cc: 1.5e-05 of cross-entropy's gradient"),
            ({"catkd": 0.0, "dkd.target": 1e-5, "dkd.rest": 0.1}, "catkd: 0 of cross-entropy's gradient"),
            ({"cc": 0.002, "kd": 0.2}, None),
        ],
    )
    def test_a_loss_whose_gradient_vanishes(self, healthy, terms, evidence):
        key = healthy.cells("distil")[0].stage
        healthy.change(key, "metrics", gradients=GradientRecord(cross_entropy=2.0, terms=terms))
        rows = rows_with(rows_of(healthy), "vanishing")
        assert [row[4:] for row in rows] == ([["1 of 3", evidence]] if evidence else [])

    @pytest.mark.parametrize(
        "reason",
        [
            "weights are not finite after epoch 3 (head.weight), though its losses are; lower the rate",
            "logits are not finite on 7 of 9 test images (the first is number 0); lower the rate",
        ],
    )
    def test_a_network_that_is_no_longer_finite(self, healthy, reason):
        key = healthy.cells("distil")[1].stage
        healthy.folder(key).record.unlink()
        healthy.fail(key, reason)
        (row,) = rows_with(rows_of(healthy), "unstable")
        assert row[5] == reason


class TestSegmentation:
    @pytest.mark.parametrize(("teacher", "is_sign"), [(0.44, True), (0.49, True), (0.51, False), (0.8, False)])
    def test_a_teacher_that_has_learnt_nothing(self, healthy, teacher, is_sign):
        """Of two classes, one has 90 % of the pixels: that answer alone has an mIoU of 45 %."""
        for cell in healthy.cells("distil"):
            healthy.change(cell.stage, "metrics", score="miou", largest_class_share=0.9, test_correct=None)
            healthy.change(cell.stage, "data", names=("background", "nucleus"))
        healthy.finish(healthy.teacher(), accuracy=teacher)
        (evidence,) = [row[5] for row in rows_with(rows_of(healthy), "floor")] or [None]
        assert evidence == (f"teacher {100 * teacher:.1f} % mIoU, one class for all pixels 45.0 %" if is_sign else None)
        assert (under_floor(teacher, 0.9, 2) is not None) == is_sign

    def test_training_accuracies_are_compared_with_those_of_pixels(self, healthy, diagnosed):
        """A high share of right pixels goes with a lower intersection over union, and is no overfitting."""
        rows = diagnosed("distil", curve(train_accuracy=[0.97] * 20))
        assert rows_with(rows, "overfitting")
        frame = healthy.frame().assign(pixel_accuracy=0.96)
        table = diagnosis(frame, healthy.plan, healthy.store)
        assert table is None or SIGNS["overfitting"].name not in {row[3].text for row in table.rows}


@pytest.mark.parametrize(
    ("accuracy", "classes", "images", "shown"),
    [
        (0.010, 1000, 10_000, False),
        (0.001, 1000, 10_000, True),
        (0.0, 1000, 50_000, True),
        (0.0016, 1000, 10_000, True),  # one standard error is 0.0003
        (0.0018, 1000, 10_000, False),
        (0.5, 2, 1000, True),
        (0.6, 2, 1000, False),
        (0.5, 2, 10, False),  # too few to tell
        (1.0, 1, 100, False),
    ],
)
def test_published_weights_at_chance(accuracy, classes, images, shown):
    sign = at_chance(accuracy, classes, images)
    assert (sign is not None) == shown
    if sign is not None:
        assert f"on {classes} classes and {images:,} images, chance {100 / classes:.2f} %" in sign.evidence
