"""The answer in words, with numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from benchbench.reports.answer import answer

LOSS = {"ce": 1, "kd": 1}
TWO = {"tune": {"method": "finetune"}, "KD": {"method": "distill", "loss": LOSS}}
STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}


def said(lab) -> str:
    return answer(lab.frame(), lab.plan)


@pytest.fixture
def versus(make_lab):
    """The answer where an arm that fine-tunes and one that distils have these accuracies: 4 hours, 6 with pre-training,
    against 3 hours and a third of the teacher's 6."""

    def make(tune, distil, *overrides: str) -> str:
        lab = make_lab(*overrides)
        lab.finish(lab.teacher(), hours=6.0)
        lab.finish_arm("tune", tune, [4.0] * len(tune))
        lab.finish_arm("distil", distil, [3.0] * len(distil))
        for other in ("scratch", "probe"):
            lab.finish_arm(other, [0.1] * 3, [1.0] * 3)
        lab.calibrate(images_per_second=50.0)
        return said(lab)

    return make


TUNE_SIDE = "80.0 % for 4.00 GPU-hours a run (6.00 with its estimated pre-training)"


def distil_side(accuracy: float) -> str:
    return f"{accuracy:.1f} % for 5.00 GPU-hours a run (distil, big (scratch))"


class TestOneComparison:
    def test_better_by_how_much_and_at_what_cost(self, versus):
        # The difference of two means of three, each with the variance 0.01 / 3: 0.1 ± 2.776 x sqrt(0.0002 / 3) points.
        text = versus([0.799, 0.8, 0.801], [0.699, 0.7, 0.701])
        assert text == (
            "On cifar (40 training images) with small, tune is better than distillation by 10.0 points "
            f"(95 % interval 9.8 to 10.2, 3 seeds): {TUNE_SIDE} against {distil_side(70)}."
        )

    def test_distillation_may_be_the_better_one(self, versus):
        text = versus([0.799, 0.8, 0.801], [0.899, 0.9, 0.901])
        assert "with small, distillation is better than tune by 10.0 points (95 % interval 9.8 to 10.2, 3" in text
        assert text.endswith(f"seeds): {distil_side(90)} against {TUNE_SIDE}.")

    @pytest.mark.parametrize(
        ("distil", "words"),
        [
            (
                [0.799, 0.8, 0.801],
                "distillation matches tune within 0.5 points, with a difference of +0.0 points "
                "(95 % interval -0.2 to +0.2, 3 seeds):",
            ),
            (
                [0.794, 0.795, 0.796],
                "tune is better than distillation by 0.5 points (95 % interval 0.3 to 0.7, 3 seeds), though perhaps "
                "by less than the margin of 0.5:",
            ),
            (
                [0.7, 0.8, 0.9],
                "it is open whether distillation matches tune within 0.5 points, with a difference of +0.0 points "
                "(95 % interval -24.8 to +24.8, 3 seeds):",
            ),
        ],
    )
    def test_every_verdict_in_words(self, versus, distil, words):
        assert words in versus([0.799, 0.8, 0.801], distil)

    def test_a_single_seed_has_no_interval(self, versus):
        text = versus([0.8], [0.7], "seeds=[5]")
        assert (
            "tune was better than distillation by 10.0 points (too few seeds for an interval, so this may be " in text
        )
        assert "% interval" not in text

    def test_a_single_seed_is_tested_by_image(self, make_lab):
        lab = make_lab("seeds=[5]", arms=TWO)
        lab.teach()
        for arm, right in (("tune", 800), ("KD", 700)):
            lab.finish(lab.cells(arm)[0].stage, right / 1000, correct=[n < right for n in range(1000)])
        assert "by 10.0 points (too few seeds for an interval; for these networks more than chance over the " in said(
            lab
        )
        assert "test images, p <0.001): " in said(lab)

    def test_seeds_that_are_lost_are_counted(self, versus):
        text = versus([0.799, 0.8, 0.801], [0.699, 0.701])
        assert "2 and 3 seeds): " in text
        assert text.endswith(" Of 12 cells 1 not run yet; the numbers are of the others.")

    def test_the_level_and_the_margin_are_the_suite_s(self, versus):
        text = versus([0.799, 0.8, 0.801], [0.699, 0.7, 0.701], "statistics={margin: 15, alpha: 0.1}")
        assert "(90 % interval 9.8 to 10.2, 3 seeds), which is within the margin of 15" in text

    def test_an_arm_that_beats_both_is_named(self, make_lab):
        lab = make_lab()
        for arm, accuracy in (("scratch", 0.9), ("tune", 0.8), ("distil", 0.7)):
            lab.finish_arm(arm, [accuracy] * 3)
        lab.teach()
        assert "; scratch reached 90.0 % (n=3). Of 12 cells 3 not run yet" in said(lab)


class TestChoice:
    def test_the_best_of_several_arms(self, make_lab):
        arms = {**TWO, "A/U": {"method": "distill", "loss": {"ce": 1, "align_uniform": 1}}}
        lab = make_lab(arms=arms)
        lab.teach()
        lab.finish_arm("tune", [0.5] * 3)
        lab.finish_arm("KD", [0.6] * 3)
        lab.finish_arm("A/U", [0.7] * 3)
        assert "(A/U, big (scratch), the best of 2 distilled arms)" in said(lab)

    def test_a_lucky_single_run_is_not_the_best(self, make_lab):
        lab = make_lab(arms={**TWO, "A/U": {"method": "distill", "loss": {"ce": 1, "align_uniform": 1}}})
        lab.teach()
        lab.finish_arm("tune", [0.5] * 3)
        lab.finish_arm("KD", [0.6] * 3)
        lab.finish_arm("A/U", [0.9])
        assert "(KD, big (scratch), the best of 2 distilled arms)" in said(lab)

    def test_without_pre_training_scratch_is_the_other_side(self, make_lab):
        lab = make_lab(arms={"scratch": {"method": "scratch"}, "KD": TWO["KD"]})
        lab.teach()
        lab.finish_arm("scratch", [0.5, 0.501, 0.499])
        lab.finish_arm("KD", [0.6, 0.601, 0.599])
        assert "distillation is better than scratch by 10.0 points (95 % interval 9.8 to 10.2, 3 seeds): " in said(lab)
        assert said(lab).endswith("against 50.0 % for 1.00 GPU-hours a run.")

    def test_without_distillation_pre_training_is_compared_with_scratch(self, make_lab):
        lab = make_lab(arms={"scratch": {"method": "scratch"}, "tune": TWO["tune"]})
        lab.finish_arm("scratch", [0.5, 0.501, 0.499])
        lab.finish_arm("tune", [0.6, 0.601, 0.599])
        assert "small, tune is better than scratch by 10.0 points (95 % interval 9.8 to 10.2, 3 seeds): " in said(lab)
        assert "60.0 % for 1.00 GPU-hours a run (the cost of its pre-training is not known) against 50.0" in said(lab)

    def test_a_single_arm_is_no_comparison(self, make_lab):
        lab = make_lab(arms={"scratch": {"method": "scratch"}})
        lab.finish_arm("scratch", [0.5] * 3, [2.0] * 3)
        assert said(lab) == (
            "On cifar (40 training images) with small, scratch reached 50.0 % (n=3) for 2.00 GPU-hours a run; the "
            "suite has no other side to compare it with."
        )

    def test_an_arm_that_fine_tunes_by_another_name(self, make_lab):
        lab = make_lab(arms={"FT": {"method": "finetune"}, "KD": TWO["KD"]})
        lab.teach()
        lab.finish_arm("FT", [0.5] * 3)
        lab.finish_arm("KD", [0.6] * 3)
        assert "distillation is better than pre-train + fine-tune (FT) by 10.0 points" in said(lab)


class TestCost:
    def test_a_public_teacher_s_pre_training_is_said_to_be_left_out(self, make_lab):
        teachers = {"big": {**STUDENT, "adapt": {"linear_probe": {}}}}
        lab = make_lab(arms=TWO, teachers=teachers)
        lab.teach()
        lab.finish_arm("tune", [0.5] * 3)
        lab.finish_arm("KD", [0.6] * 3)
        assert "(KD, big (linear_probe); its teacher's pre-training is not counted)" in said(lab)

    def test_a_distilled_student_that_is_fine_tuned_is_no_side(self, chained):
        text = said(chained)
        assert "tune is better than distillation by 20.0 points" in text
        assert "80.0 % for 4.00 GPU-hours a run (6.00 with its estimated pre-training) against 60.0 % for 4.00" in text
        assert text.endswith("; distil + tune reached 90.0 % (n=3).")

    def test_pre_training_that_distillation_starts_from_is_said_too(self, make_lab):
        lab = make_lab(arms={**TWO, "KD": {**TWO["KD"], "start": "tune"}}, students={"small": STUDENT})
        lab.teach()
        lab.finish_arm("tune", [0.5] * 3)
        lab.finish_arm("KD", [0.6] * 3)
        assert "(KD, big (scratch); the cost of its pre-training is not known)" in said(lab)

    def test_hours_of_two_kinds(self, make_lab):
        lab = make_lab(arms=TWO)
        lab.teach()
        lab.finish_arm("tune", [0.5] * 3)
        lab.finish_arm("KD", [0.6] * 3)
        lab.finish(lab.cells("KD")[0].stage, 0.6, unit="CPU-hours")
        assert "60.0 % for 1.33 device-hours a run" in said(lab)
        assert "50.0 % for 1.00 GPU-hours a run" in said(lab)


class TestNotFinished:
    def test_nothing_has_run(self, lab):
        assert said(lab) == "No cell is done, so there is no answer: 12 not run yet, of 12 cells."

    def test_everything_failed(self, make_lab):
        lab = make_lab(arms={"scratch": {"method": "scratch"}})
        for cell in lab.cells("scratch"):
            lab.fail(cell.stage, "out of memory")
        assert said(lab) == "No cell is done, so there is no answer: 3 failed, of 3 cells."

    def test_one_side_has_failed(self, make_lab):
        lab = make_lab(arms=TWO)
        lab.teach()
        lab.finish_arm("KD", [0.6] * 3)
        for cell in lab.cells("tune"):
            lab.fail(cell.stage, "out of memory")
        assert "KD, big (scratch) reached 60.0 % (n=3) for " in said(lab)
        assert "a run; the other side has no finished run. Of 6 cells 3 failed;" in said(lab)


class TestSeveralGroups:
    @pytest.fixture
    def students(self, make_lab):
        def make(*gains: float | None):
            """A student for each gain of distillation over fine-tuning, in points; None: without a finished run."""
            entries = {f"s{n}": {**STUDENT, "input_size": 32 + 32 * n} for n in range(len(gains))}
            lab = make_lab(students=entries, arms=TWO)
            lab.teach()
            for name, gain in zip(entries, gains, strict=True):
                if gain is not None:
                    lab.finish_arm("tune", [0.499, 0.5, 0.501], [2.0] * 3, student=name)
                    accuracies = [0.5 + gain / 100 + noise for noise in (-0.001, 0.0, 0.001)]
                    lab.finish_arm("KD", accuracies, [1.0] * 3, student=name)
            return lab

        return make

    def test_a_few_have_a_sentence_each(self, students):
        text = said(students(10.0, None, -10.0))
        assert "with s0, distillation is better than tune by 10.0 points" in text
        assert "On cifar with s1, no run is finished." in text
        assert "with s2, tune is better than distillation by 10.0 points" in text
        assert text.endswith("Of 18 cells 6 not run yet; the numbers are of the others.")

    def test_many_are_counted(self, students):
        text = said(students(10.0, 10.0, -10.0, 0.0, None))
        assert text == (
            "Over 5 pairs of data set and student, compared with tune, distillation is better on 2, as good within 0.5 "
            "points on 1, worse by more than 0.5 points on 1, not comparable on 1; a run of it costs 0.53 times the "
            "GPU-hours. Of 30 cells 6 not run yet; the numbers are of the others."
        )

    def test_what_is_compared_with_another_side_is_counted_apart(self, make_lab):
        """Distillation loses to fine-tuning with the one student that has it, and beats scratch with the others."""
        entries = {f"s{n}": {**STUDENT, "input_size": 32 + 32 * n} for n in range(4)}
        arms = {"scratch": {"method": "scratch"}, **TWO, "tune": {**TWO["tune"], "students": ["s0"]}}
        lab = make_lab(students=entries, arms=arms)
        lab.teach()
        lab.finish_arm("tune", [0.799, 0.8, 0.801], student="s0")
        for name in entries:
            lab.finish_arm("scratch", [0.399, 0.4, 0.401], student=name)
            lab.finish_arm("KD", [0.599, 0.6, 0.601], student=name)
        text = said(lab)
        assert "Over 1 of 4 pairs of data set and student, compared with tune, distillation is worse by more" in text
        assert "Over 3 of 4 pairs of data set and student, compared with scratch, distillation is better on 3;" in text
