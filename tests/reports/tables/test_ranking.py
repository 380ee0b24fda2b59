"""Aggregates over data sets and students: what is aggregated, what is left out, and what a table may say of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchbench.reports.tables.ranking import TOO_SMALL, profiles, ranking
from benchbench.statistics.aggregate import improvement, iqm_of_gains, stratified_bootstrap
from tests.reports.table_texts import texts

ARMS = {"scratch": {"method": "scratch"}, "tune": {"method": "finetune"}, "longer": {"method": "finetune"}}
STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}


@pytest.fixture
def make(make_lab):
    """A lab with so many data sets of one student, with runs by arm and data set."""

    def build(runs: dict[str, list[list[float]]], seeds: int = 3, *overrides: str):
        count = max(map(len, runs.values()), default=2)
        data = {f"d{n}": {"source": "cifar10_subset", "per_class": n + 2} for n in range(count)}
        arms = {name: {**arm, "recipe": {"epochs": n + 1}} for n, (name, arm) in enumerate(ARMS.items())}
        suite = {
            "data": data,
            "students": {"small": STUDENT},
            "arms": arms,
            "seeds": list(range(seeds)),
            "teachers": None,
        }
        lab = make_lab(*overrides, **suite)
        for arm, each in runs.items():
            for n, accuracies in enumerate(each):
                lab.finish_arm(arm, accuracies, data=f"d{n}")
        return lab

    return build


class TestRanking:
    def test_by_hand(self, make):
        lab = make({"scratch": [[0.5, 0.7], [0.4, 0.4]], "tune": [[0.6, 0.8], [0.3, 0.3]], "longer": [[0.9], [0.3]]})
        table = ranking(lab.frame(), lab.plan)
        assert table.columns == ["arm", "mean rank", "mean gain", "p", "IQM gain", "P(improvement)"]
        rows = texts(table)
        # Means 60, 70, 90 and 40, 30, 30: ranks 3, 2, 1 and 1, 2.5, 2.5.
        assert [rows[row][0] for row in ("scratch", "tune", "longer")] == ["2.00", "2.25", "1.75"]
        # Gains of runs -20, 0, 10, 10: the middle half is 0 and 10. Pairs won: one of four, and all of four.
        assert rows["scratch"][3:] == ["+5.00", "0.62"]
        assert rows["tune"][1:] == ["reference", "–", "reference", "–"]

    def test_the_gain_is_paired_by_block(self, make):
        tune = [[0.5], [0.7], [0.9]]
        lab = make({"tune": tune, "scratch": [[0.51], [0.70], [0.93]]})
        low, high = stats.ttest_rel([51, 70, 93], [50, 70, 90]).confidence_interval(0.95)
        assert texts(ranking(lab.frame(), lab.plan))["scratch"][1] == f"+1.33 [{low:+.2f}, {high:+.2f}]"

    def test_few_blocks_cannot_be_significant(self, make):
        tune = [[0.5]] * 5
        lab = make({"tune": tune, "scratch": [[0.6]] * 5})
        table = ranking(lab.frame(), lab.plan)
        assert texts(table)["scratch"][2] == TOO_SMALL
        assert any(TOO_SMALL in note for note in table.notes)

    def test_from_six_blocks_on_there_is_a_test(self, make):
        better = [[0.6], [0.61], [0.62], [0.63], [0.64], [0.65]]
        lab = make({"tune": [[0.5]] * 6, "scratch": better, "longer": [[0.4], *better[1:]]})
        rows = texts(ranking(lab.frame(), lab.plan))
        assert rows["scratch"][2] == f"{2 * 2 / 2**6:.3f}"  # Holm: twice, for two arms
        assert rows["longer"][2] == f"{stats.wilcoxon([-10, 11, 12, 13, 14, 15]).pvalue:.3f}"

    def test_equal_runs_everywhere(self, make):
        lab = make({"tune": [[0.5] * 3] * 6, "scratch": [[0.5] * 3] * 6, "longer": [[0.5] * 3] * 6})
        rows = texts(ranking(lab.frame(), lab.plan))
        assert {row[0] for row in rows.values()} == {"2.00"}
        assert rows["scratch"][2:] == ["1.000", "+0.00", "0.50"]
        assert rows["scratch"][1].startswith("+0.00 [-0.0")

    def test_bootstrap_from_ten_runs_on(self, make):
        rng = np.random.default_rng(0)
        runs = {arm: (np.round(rng.normal(0.6, 0.02, (2, 10)), 3)).tolist() for arm in ("tune", "scratch")}
        arrays = [[100 * np.array(block) for block in runs[arm]] for arm in ("scratch", "tune")]
        lab = make({arm: [block[:9] for block in each] for arm, each in runs.items()}, 10)
        assert not any("[" in text for text in texts(ranking(lab.frame(), lab.plan))["scratch"][3:])
        lab = make(runs, 10)
        rows = texts(ranking(lab.frame(), lab.plan))["scratch"]
        low, high = stratified_bootstrap(iqm_of_gains, *arrays, 0.95)
        assert rows[3] == f"{iqm_of_gains(*arrays):+.2f} [{low:+.2f}, {high:+.2f}]"
        low, high = stratified_bootstrap(improvement, *arrays, 0.95)
        assert rows[4] == f"{improvement(*arrays):.2f} [{low:.2f}, {high:.2f}]"

    def test_runs_that_always_win_have_no_interval_of_a_point(self, make):
        lab = make({"tune": [[0.5 + n / 1000 for n in range(10)]] * 2, "scratch": [[0.9] * 10] * 2}, 10)
        assert texts(ranking(lab.frame(), lab.plan))["scratch"][4] == "1.00"

    def test_an_arm_that_lacks_a_block_is_not_ranked(self, make):
        lab = make({"tune": [[0.5], [0.6]], "scratch": [[0.4], [0.5]], "longer": [[0.9], []]})
        table = ranking(lab.frame(), lab.plan)
        assert texts(table)["longer"] == ["–"] * 5
        assert texts(table)["tune"][0] == "1.00"
        assert table.notes[-1].endswith("so not ranked: longer")

    def test_a_block_without_the_reference_is_left_out(self, make):
        lab = make({"tune": [[0.5], [0.6], []], "scratch": [[0.4], [0.5], [0.9]]})
        table = ranking(lab.frame(), lab.plan)
        assert texts(table)["scratch"][0] == "2.00"
        assert table.notes[0].startswith("over 2 groups (data set x student), n = 1 of each arm in each")

    def test_one_block_left_has_no_interval(self, make):
        lab = make({"tune": [[0.5, 0.6], []], "scratch": [[0.4, 0.5], []]})
        assert texts(ranking(lab.frame(), lab.plan))["scratch"][1:3] == ["-10.00", TOO_SMALL]

    def test_nothing_has_run(self, make):
        lab = make({})
        assert texts(ranking(lab.frame(), lab.plan)) == {row: ["–"] * 5 for row in ARMS}


class TestProfiles:
    def test_by_hand(self, make):
        lab = make({"tune": [[0.5, 0.52], [0.6, 0.6]], "scratch": [[0.52, 0.51, 0.4], [0.604, 0.603, 0.605]]})
        table = profiles(lab.frame(), lab.plan)
        assert table.columns == [
            "arm", "> -10", "> -5", "> -2", "> -1", "> -0.5", "> 0", "> +0.5", "> +1", "> +2", "> +5", "> +10",
        ]  # fmt: skip
        # Gains 1, 0, -11 and 0.4, 0.3, 0.5.
        assert texts(table)["scratch"] == [
            "0.83", "0.83", "0.83", "0.83", "0.83", "0.67", "0.17", "0.00", "0.00", "0.00", "0.00",
        ]  # fmt: skip
        assert texts(table)["tune"][5] == "0.25"  # one run above the mean in one block, none in the other
        assert texts(table)["longer"] == ["–"] * 11

    def test_the_margin_is_a_threshold(self, make):
        lab = make({"tune": [[0.5], [0.6]]}, 3, "statistics={margin: 0.3}")
        table = profiles(lab.frame(), lab.plan)
        assert {"> -0.3", "> +0.3"} < set(table.columns)
        assert "the margin is 0.3 points" in table.notes[0]

    def test_an_equal_run_is_not_above_the_mean(self, make):
        lab = make({"tune": [[0.1, 0.1, 0.1]] * 2, "scratch": [[0.1] * 3] * 2})
        assert {row[5] for row in texts(profiles(lab.frame(), lab.plan)).values() if row[5] != "–"} == {"0.00"}


@pytest.mark.parametrize("report", [ranking, profiles])
def test_nothing_to_say_of_one_block_or_without_fine_tuning(report, make_lab, lab):
    assert report(lab.frame(), lab.plan) is None
    data = {"one": {"source": "cifar10_subset"}, "two": {"source": "cifar10_subset", "per_class": 4}}
    without = make_lab(arms={"scratch": {"method": "scratch"}}, data=data)
    assert report(without.frame(), without.plan) is None
