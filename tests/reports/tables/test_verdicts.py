"""Verdicts on distilled arms: comparisons, their texts, and few or no runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchbench.reports.table import Table
from benchbench.reports.tables.verdicts import TOO_SMALL, compare, verdicts

TUNE = [0.700, 0.702, 0.704]
KD, AU = "KD, big (scratch)", "A/U, big (scratch)"
DISTIL = {
    "scratch": {"method": "scratch"},
    "tune": {"method": "finetune"},
    "KD": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
    "A/U": {"method": "distill", "loss": {"ce": 1, "align_uniform": 1}},
}


def texts(table: Table | None) -> dict[str, list[str]]:
    assert table is not None
    return {entries[table.labels - 1].text: [entry.text for entry in entries[table.labels :]] for entries in table.rows}


@pytest.fixture
def make(make_lab):
    """A lab with two distilled arms, the teacher done; keywords are accuracies of its arms."""

    def build(*overrides, suite=None, **accuracies):
        lab = make_lab(*overrides, arms=DISTIL, **(suite or {}))
        lab.teach()
        for arm, values in accuracies.items():
            lab.finish_arm({"AU": "A/U"}.get(arm, arm), values)
        return lab

    return build


def verdict_of(lab, row: str = KD) -> str:
    return texts(verdicts(lab.frame(), lab.plan))[row][1]


class TestVerdict:
    def test_difference_interval_p_and_n(self, make):
        lab = make(tune=TUNE, KD=[0.695, 0.699, 0.701])
        table = verdicts(lab.frame(), lab.plan)
        expected = stats.ttest_ind([69.5, 69.9, 70.1], [70.0, 70.2, 70.4], equal_var=False)
        low, high = expected.confidence_interval(0.95)
        p = stats.ttest_ind([70.0, 70.4, 70.6], [70.0, 70.2, 70.4], equal_var=False, alternative="greater").pvalue
        difference, verdict, p_text, n, *_ = texts(table)[KD]
        assert difference == f"-0.37 [{low:+.2f}, {high:+.2f}]"
        assert (verdict, p_text, n) == ("inconclusive", f"{p:.3f}", "3 / 3")
        assert table.columns == ["arm", "difference", "verdict", "p", "n", "images won : lost", "p (images)"]
        assert table.title == "Distillation against tune in tiny: test accuracy, margin 0.5 points"
        assert list(texts(table)) == [KD, AU]  # the distilled arms and no other

    @pytest.mark.parametrize(
        ("runs", "verdict"),
        [
            ([0.800, 0.802, 0.804], "surpasses"),
            ([0.702, 0.703, 0.704], "matches"),
            ([0.690, 0.700, 0.720], "inconclusive"),
            ([0.600, 0.602, 0.604], "falls short"),
        ],
    )
    def test_each(self, make, runs, verdict):
        assert verdict_of(make(tune=TUNE, KD=runs)) == verdict

    @pytest.mark.parametrize(
        ("tune", "runs", "verdict"),
        [
            ([0.7000, 0.7005, 0.7010], [0.6990, 0.6985, 0.6980], "matches (worse)"),
            ([0.7000, 0.7010, 0.7020], [0.6965, 0.6955, 0.6975], "inconclusive (worse)"),
        ],
    )
    def test_worse_by_less_than_the_margin_or_by_who_knows(self, make, tune, runs, verdict):
        lab = make(tune=tune, KD=runs)
        (arm,) = [each for each in compare(lab.frame(), 0.5, 0.05) if each.row == KD]
        assert arm.interval[1] < 0
        assert verdict_of(lab) == verdict

    def test_margin_and_alpha_are_the_suite_s(self, make):
        runs = {"tune": TUNE, "KD": [0.695, 0.699, 0.701]}
        wide = make("statistics={margin: 2, alpha: 0.1}", **runs)
        assert verdict_of(wide) == "matches"
        table = verdicts(wide.frame(), wide.plan)
        assert table.title.endswith("margin 2 points")
        notes = "\n".join(table.notes)
        assert "90 % t-interval" in notes
        assert "above -2, the margin" in notes
        assert "one-sided t-test at 0.05 with Holm" in notes
        narrow = make("statistics={margin: 0.1}", **runs)
        assert "margin 0.1 points" in verdicts(narrow.frame(), narrow.plan).title

    def test_holm_is_over_the_arms_of_the_block(self, make):
        runs = [0.698, 0.700, 0.703]
        lab = make(tune=TUNE, KD=runs)
        alone = {each.row: each.p for each in compare(lab.frame(), 0.5, 0.05)}
        lab.finish_arm("A/U", runs)
        both = {each.row: each.p for each in compare(lab.frame(), 0.5, 0.05)}
        assert alone[AU] is None
        assert both[KD] == both[AU] == pytest.approx(2 * alone[KD])

    def test_the_reference_is_the_first_arm_that_fine_tunes(self, make):
        lab = make("arms.longer={method: finetune, recipe: {epochs: 3}}", tune=TUNE, KD=[0.8, 0.81, 0.82])
        lab.finish_arm("longer", [0.9, 0.91, 0.92])
        assert {each.reference for each in compare(lab.frame(), 0.5, 0.05)} == {"tune"}

    def test_the_reference_is_no_distilled_student_that_is_fine_tuned(self, chained):
        assert {each.reference for each in compare(chained.frame(), 0.5, 0.05)} == {"tune"}


class TestLittle:
    def test_one_seed_has_a_difference_and_no_verdict(self, make):
        lab = make(tune=[0.7], KD=[0.8])
        assert texts(verdicts(lab.frame(), lab.plan))[KD] == ["+10.00", TOO_SMALL, "–", "1 / 1, 4 missing", "–", "–"]

    def test_one_run_of_the_reference_is_too_few(self, make):
        assert verdict_of(make(tune=[0.7], KD=[0.8, 0.81, 0.82])) == TOO_SMALL

    def test_two_runs_are_tested(self, make):
        assert verdict_of(make(tune=TUNE[:2], KD=[0.40, 0.402])) == "falls short"
        assert verdict_of(make(tune=TUNE[:2], KD=[0.65, 0.70])) == "inconclusive"

    def test_failed_missing_and_without_a_reference(self, make):
        lab = make(KD=[0.7, 0.7])
        lab.fail(lab.cells("A/U")[0].stage, "out of memory")
        rows = texts(verdicts(lab.frame(), lab.plan))
        assert rows == {KD: ["no reference", *["–"] * 5], AU: ["failed", *["–"] * 5]}

    def test_a_lost_run_is_counted(self, make):
        lab = make(tune=TUNE, KD=[0.70, 0.71])
        lab.fail(lab.cells("KD")[2].stage, "out of memory")
        assert texts(verdicts(lab.frame(), lab.plan))[KD][3] == "2 / 3, 1 missing"
        assert texts(verdicts(lab.frame(), lab.plan))[AU] == ["–"] * 6

    def test_nothing_to_say_without_fine_tuning_or_without_distillation(self, make_lab):
        for missing in (("tune",), ("KD", "A/U")):
            lab = make_lab(arms={name: arm for name, arm in DISTIL.items() if name not in missing})
            assert verdicts(lab.frame(), lab.plan) is None


class TestNoSpread:
    """Runs that are all equal: what one of 1,000 test images is worth is still not known better than to an image."""

    def test_equal_arms_match(self, make):
        lab = make(tune=[0.7] * 3, KD=[0.7] * 3)
        # The error is 0.1 x sqrt(1/12 x 2/3), the t-table has 2.776 for 4 degrees of freedom.
        assert texts(verdicts(lab.frame(), lab.plan))[KD][:2] == ["+0.00 [-0.07, +0.07]", "matches"]

    def test_one_image_more_surpasses_nothing_in_two_runs(self, make):
        assert verdict_of(make(tune=[0.7] * 2, KD=[0.701] * 2)) != "surpasses"
        assert verdict_of(make(tune=[0.7] * 2, KD=[0.9] * 2)) == "surpasses"


class TestExamples:
    def answers(self, lab, arm: str, seed: int, wrong: set[int]) -> None:
        correct = np.array([image not in wrong for image in range(1000)])
        lab.finish(lab.cells(arm)[seed].stage, float(correct.mean()), correct=correct)

    def test_images_won_and_lost(self, make):
        lab = make()
        for seed in range(2):
            self.answers(lab, "tune", seed, wrong=set(range(20, 40)))
            self.answers(lab, "KD", seed, wrong={0, 1, 2, 39} if seed else {0, 1, 2, 39, 500})
        won, p = texts(verdicts(lab.frame(), lab.plan))[KD][4:]
        assert won == "19 : 4"  # 500 is lost in one run of two
        assert p == f"{stats.binomtest(4, 23).pvalue:.3f}"

    def test_holm_is_over_the_arms(self, make):
        lab = make()
        self.answers(lab, "tune", 0, wrong=set(range(10)))
        self.answers(lab, "KD", 0, wrong=set())
        self.answers(lab, "A/U", 0, wrong={11})
        p_values = {each.row: each.examples_p for each in compare(lab.frame(), 0.5, 0.05)}
        assert p_values[KD] == pytest.approx(2 * stats.binomtest(0, 10).pvalue)
        assert p_values[AU] == pytest.approx(stats.binomtest(1, 11).pvalue)

    def test_too_few_images(self, make):
        lab = make()
        self.answers(lab, "tune", 0, wrong=set(range(5)))
        self.answers(lab, "KD", 0, wrong=set())
        table = verdicts(lab.frame(), lab.plan)
        assert texts(table)[KD][4:] == ["5 : 0", TOO_SMALL]
        assert f"{TOO_SMALL}: one run shows no spread; fewer than 6 images" in table.notes[-1]

    def test_runs_without_bits_are_left_out(self, make):
        lab = make(tune=TUNE[:2], KD=TUNE[:2])
        self.answers(lab, "KD", 0, wrong=set(range(8)))
        assert texts(verdicts(lab.frame(), lab.plan))[KD][4:] == ["–", "–"]
        self.answers(lab, "tune", 1, wrong={9})
        assert texts(verdicts(lab.frame(), lab.plan))[KD][4] == "1 : 8"


class TestSeveralBlocks:
    @pytest.fixture
    def lab(self, make):
        student = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
        data = {"one": {"source": "cifar10_subset"}, "two": {"source": "cifar10_subset", "per_class": 4}}
        return make(suite={"students": {"a": student, "b": {**student, "input_size": 64}}, "data": data})

    def test_each_against_its_own_reference(self, lab):
        for data, student, base in (("one", "a", 0.5), ("one", "b", 0.6), ("two", "a", 0.7)):
            lab.finish_arm("tune", [base, base + 0.002, base + 0.004], data=data, student=student)
            lab.finish_arm("KD", [base + 0.1, base + 0.102, base + 0.104], data=data, student=student)
        table = verdicts(lab.frame(), lab.plan)
        assert table.columns[:4] == ["data", "student", "arm", "difference"]
        rows = [[entry.text for entry in row] for row in table.rows if row[2].text == KD]
        assert [[*row[:3], row[3][:6], row[4]] for row in rows] == [
            ["one", "a", KD, "+10.00", "surpasses"],
            ["one", "b", KD, "+10.00", "surpasses"],
            ["two", "a", KD, "+10.00", "surpasses"],
            ["two", "b", KD, "–", "–"],
        ]

    def test_holm_is_not_over_the_blocks(self, lab):
        for student in ("a", "b"):
            lab.finish_arm("tune", TUNE, data="one", student=student)
            lab.finish_arm("KD", [0.698, 0.700, 0.703], data="one", student=student)
        together = {each.student: each.p for each in compare(lab.frame(), 0.5, 0.05) if each.p is not None}
        frame = lab.frame()
        alone = [each.p for each in compare(frame[frame.student == "a"], 0.5, 0.05) if each.p is not None]
        assert together["a"] == together["b"] == alone[0]
