"""Two sides: which cells both have, what of their specs differs, and differences checked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchbench.errors import BenchBenchError
from benchbench.reports.columns import COLUMNS
from benchbench.reports.compare import SpecChange, _test, compare, summary, tables
from benchbench.reports.compare_inputs import Side, read_results
from benchbench.reports.render import RENDERERS, plain
from benchbench.specs.parts import ComponentVersion, FileSpec, WeightsSpec
from benchbench.specs.stages import TrainingSpec
from tests.specs import SMALL, loss_spec, recipe_spec, training_spec


def side(name="A", rows=(), specs=None, **more):
    """Rows are (row, seed, accuracy, key); accuracy None for a cell that has not run."""
    cells = [
        {
            "row": row,
            "data": "cifar",
            "student": "small",
            "seed": seed,
            "accuracy": accuracy,
            "key": key,
            "status": "missing" if accuracy is None else "done",
            "own_hours": 2.0,
            "unit": "GPU-hours",
            "device": "Big GPU",
            **more,
        }
        for row, seed, accuracy, key in rows
    ]
    return Side(name, pd.DataFrame(cells, columns=list(COLUMNS)), specs or {})


def seeds(row, accuracies, first=0, key="k"):
    return [(row, first + index, accuracy, f"{key}{index}") for index, accuracy in enumerate(accuracies)]


class TestNumbers:
    def test_paired_by_seed(self):
        """d = 2, 3, 4 points: mean 3, s = 1; t with 2 degrees of freedom has its 97.5 % point at 4.3027."""
        a, b = side(rows=seeds("KD", [0.50, 0.60, 0.70])), side("B", seeds("KD", [0.52, 0.63, 0.74]))
        (difference,) = compare(a, b).differences
        half = 4.302653 * 0.01 / math.sqrt(3)
        assert difference.test == "paired"
        assert difference.difference == pytest.approx(0.03)
        assert (difference.low, difference.high) == (
            pytest.approx(0.03 - half, rel=1e-5),
            pytest.approx(0.03 + half, rel=1e-5),
        )
        # With 2 degrees of freedom P(|T| > t) = 1 - t / sqrt(2 + t^2), and t = 3 sqrt(3).
        t = 3 * math.sqrt(3)
        assert difference.p == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-6)
        assert difference.verdict == "yes"

    def test_pairs_are_found_whatever_the_order(self):
        a = side(rows=seeds("KD", [0.50, 0.60, 0.70]))
        b = side("B", seeds("KD", [0.52, 0.63, 0.74])[::-1])
        (difference,) = compare(a, b).differences
        assert difference.p == pytest.approx(0.0351, abs=1e-4)

    def test_other_seeds_are_not_paired(self):
        """Welch, with s_a^2 = 1, s_b^2 = 4 (points squared), n = 3 and 3: t = 2 / sqrt(5/3), df = 50/17."""
        a = side(rows=seeds("KD", [0.50, 0.51, 0.52]))
        b = side("B", seeds("KD", [0.51, 0.53, 0.55], first=5))
        (difference,) = compare(a, b).differences
        assert difference.test == "Welch"
        assert difference.difference == pytest.approx(0.02)
        half = (difference.high - difference.low) / 2
        freedom = (1 / 3 + 4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
        assert freedom == pytest.approx(50 / 17)
        # The interval touches 0 at that level whose quantile is t: simulated, as an independent check of scipy's use.
        random = np.random.default_rng(0)
        draws = np.abs(random.standard_t(freedom, 400_000))
        assert difference.p == pytest.approx((draws > 2 / math.sqrt(5 / 3)).mean(), abs=0.004)
        assert half == pytest.approx(np.quantile(draws, 0.95) * math.sqrt(5 / 3) / 100, rel=0.02)

    @pytest.mark.parametrize(
        ("a", "b", "verdict"),
        [
            ([0.5], [0.9], "n too small to test"),
            ([0.5, 0.6], [0.7, 0.9], "n too small to test"),
            ([0.5, 0.6], [0.6, 0.7], "n too small to test"),
            ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], "identical"),
            ([0.5, 0.6, 0.7], [0.6, 0.7, 0.8], "no spread to test against"),
            ([0.5, 0.7, 0.6], [0.6, 0.5, 0.7], "no"),
        ],
    )
    def test_no_p_value_that_says_nothing(self, a, b, verdict):
        (difference,) = compare(side(rows=seeds("KD", a)), side("B", seeds("KD", b))).differences
        assert difference.verdict == verdict
        assert (difference.p is None) == (verdict != "no")

    def test_two_seeds_have_an_interval_all_the_same(self):
        low, high, p, _ = _test([0.5, 0.6], [0.7, 0.9], paired=True)
        # d = 20 and 30 points, s = 7.07, half = 12.706 s / sqrt(2) = 63.5
        assert (low, high, p) == (
            pytest.approx(0.25 - 0.63531, abs=1e-4),
            pytest.approx(0.25 + 0.63531, abs=1e-4),
            None,
        )

    def test_p_values_are_corrected_over_the_rows_tested(self):
        better, rows_a, rows_b = [0.52, 0.63, 0.74], [], []
        for row in ("one", "two"):
            rows_a += seeds(row, [0.50, 0.60, 0.70])
            rows_b += seeds(row, better)
        rows_a, rows_b = rows_a + seeds("short", [0.5]), rows_b + seeds("short", [0.6])
        differences = compare(side(rows=rows_a), side("B", rows_b)).differences
        assert [each.verdict for each in differences] == ["no", "no", "n too small to test"]
        assert differences[0].p_holm == pytest.approx(2 * differences[0].p)

    def test_cells_that_have_not_run_do_not_count(self):
        a = side(rows=seeds("KD", [0.5, 0.6, None]))
        b = side("B", seeds("KD", [0.5, 0.6, 0.7]) + seeds("new", [None]))
        (difference,) = compare(a, b).differences
        assert (difference.n_a, difference.n_b, difference.test) == (2, 3, "Welch")

    @pytest.mark.parametrize(
        ("change", "ratio"),
        [({"own_hours": 3.0}, 1.5), ({"own_hours": 3.0, "device": "Other GPU"}, None), ({"own_hours": None}, None)],
    )
    def test_hours_on_one_kind_of_device_alone(self, change, ratio):
        (difference,) = compare(side(rows=seeds("KD", [0.5])), side("B", seeds("KD", [0.6]), **change)).differences
        assert difference.hours_ratio == ratio


def epochs(count: int) -> TrainingSpec:
    return training_spec(recipe=recipe_spec(epochs=count))


class TestWhatChanged:
    def compare(self, one, two, more_a=None, more_b=None):
        a = side(rows=[("KD", 0, 0.5, "a"), ("KD", 1, 0.5, "same")], specs={"a": one, **(more_a or {})})
        b = side("B", [("KD", 0, 0.5, "b"), ("KD", 1, 0.5, "same")], specs={"b": two, **(more_b or {})})
        return compare(a, b)

    def test_a_recipe(self):
        assert self.compare(epochs(1), epochs(2)).changes == [SpecChange("recipe.epochs", "1", "2", 1)]

    def test_losses_go_by_their_names(self):
        one = training_spec(loss=(loss_spec(label_smoothing=0.0), loss_spec("kd", temperature=4.0)))
        two = training_spec(loss=(loss_spec(label_smoothing=0.1),))
        changes = {change.what: (change.a, change.b) for change in self.compare(one, two).changes}
        assert changes == {
            "loss.ce.params.label_smoothing": ("0.0", "0.1"),
            "loss.kd.images": ("all", None),
            "loss.kd.name": ("kd", None),
            "loss.kd.params.temperature": ("4.0", None),
            "loss.kd.weight": ("1.0", None),
        }

    def test_a_component_s_source(self):
        one, two = (
            training_spec(components={"loss/kd": ComponentVersion(version="", source=digit * 64)}) for digit in "ab"
        )
        (change,) = self.compare(one, two).changes
        assert change == SpecChange("components.loss/kd.source", "a" * 12, "b" * 12, 1)

    def test_where_a_file_lies_does_not_count_but_what_is_in_it(self):
        def weights(path, content):
            file = FileSpec(path=path, content=content)
            return training_spec(model=SMALL.model_copy(update={"weights": WeightsSpec(file=file)}))

        assert self.compare(weights("/a/w.pth", "same"), weights("/b/w.pth", "same")).changes == []
        (change,) = self.compare(weights("/a/w.pth", "old"), weights("/a/w.pth", "new")).changes
        assert change == SpecChange("model.weights.file", "old", "new", 1)

    def test_the_teacher_s_training(self):
        one, two = training_spec(needs={"teacher0": "t1"}), training_spec(needs={"teacher0": "t2"})
        comparison = self.compare(one, two, {"t1": epochs(5)}, {"t2": epochs(6)})
        assert comparison.changes == [SpecChange("teacher0: recipe.epochs", "5", "6", 1)]
        assert self.compare(one, two).changes == [SpecChange("teacher0: stage", "t1", "t2", 1)]

    def test_a_spec_that_is_not_known(self):
        a = side(rows=[("KD", 0, 0.5, "a")], specs={"a": epochs(1)})
        comparison = compare(a, side("B", [("KD", 0, 0.5, "b")]))
        assert (comparison.changes, comparison.unknown) == ([], 1)
        assert any("give results.csv@STORE" in note for table in tables(comparison) for note in table.notes)

    def test_cells_of_one_side_alone(self):
        comparison = compare(side(rows=seeds("KD", [0.5, 0.6])), side("B", seeds("KD", [0.5]) + seeds("A/U", [0.7])))
        assert [(cell.row, cell.seed) for cell in comparison.only_a] == [("KD", 1)]
        assert [(cell.row, cell.seed) for cell in comparison.only_b] == [("A/U", 0)]
        assert comparison.shared == 1


def test_tables_can_be_drawn_and_json_read():
    a = side(rows=seeds("KD", [0.50, 0.60, 0.70], key="a") + seeds("old", [0.5]), specs={"a0": epochs(1)})
    b = side("B", seeds("KD", [0.52, 0.63, 0.74], key="b") + seeds("new", [None]), specs={"b0": epochs(2)})
    comparison = compare(a, b)
    for table in tables(comparison):
        for render in RENDERERS.values():
            assert render(table)
        assert all(len(row) == len(table.columns) for row in table.rows)
    read = json.loads(json.dumps(comparison.as_json(), allow_nan=False))
    assert read["differences"][0]["verdict"] == "yes"
    assert read["only_b"] == [{"row": "new", "data": "cifar", "student": "small", "seed": 0}]
    assert summary(comparison) == "1 rows on both sides: 1 differ"


@pytest.mark.parametrize("sign", ["+", "-"])
def test_bold_is_a_real_difference_and_not_the_best(sign):
    low, high = side(rows=seeds("KD", [0.50, 0.60, 0.70])), side("B", seeds("KD", [0.52, 0.63, 0.74]))
    comparison = compare(low, high) if sign == "+" else compare(high, low)
    drawn = plain(tables(comparison)[-1])
    assert f"{sign}3.00 *" in drawn
    assert "\n* the difference is real\n" in drawn
    assert "best" not in drawn


def test_nothing_in_common():
    comparison = compare(side(rows=seeds("a", [0.5])), side("B", seeds("b", [0.5])))
    assert (comparison.shared, comparison.differences) == (0, [])
    assert summary(comparison) == "no row is done on both sides"


@pytest.mark.parametrize(
    ("columns", "measure"), [({}, "accuracy"), ({"miou": None, "map": 0.5}, "mAP"), ({"miou": 0.5}, "mIoU")]
)
def test_what_is_compared_has_its_name(columns, measure):
    one = side(rows=seeds("KD", [0.5, 0.6, 0.7]))
    one = replace(one, frame=one.frame.assign(**columns))
    comparison = compare(one, replace(one, name="B"))
    assert f"test {measure} in %" in " ".join(tables(comparison)[-1].notes)


@pytest.mark.parametrize("label", ["None", "NA", "nan", "null", "007"])
def test_labels_that_look_like_missing_values_or_numbers_are_labels(tmp_path, label):
    frame = side(rows=[*seeds(label, [0.5, 0.6]), *seeds("KD", [0.7, 0.8], key="m")]).frame
    path = tmp_path / "results.csv"
    frame.to_csv(path, index=False)
    read = read_results(path)
    assert read.row.tolist() == [label, label, "KD", "KD"]
    assert read.teacher.isna().all()
    assert read.accuracy.tolist() == [0.5, 0.6, 0.7, 0.8]


def test_columns_that_are_no_numbers(tmp_path):
    frame = side(rows=[("KD", 0, 0.5, "a"), ("KD", 1, 0.6, "b")]).frame.astype({"own_hours": object, "seed": object})
    path = tmp_path / "results.csv"
    for column, value, message in (
        ("own_hours", "abc", "3: own_hours is abc, not a number"),
        ("seed", "9" * 400, "3: seed is 9+, not a whole number"),
    ):
        changed = frame.copy()
        changed.loc[1, column] = value
        changed.to_csv(path, index=False)
        with pytest.raises(BenchBenchError, match=rf"results\.csv:{message}"):
            read_results(path)


def test_a_line_with_a_field_too_many_moves_no_column(tmp_path):
    frame = side(rows=[("KD", 0, 0.5, "a"), ("KD", 1, 0.6, "b")]).frame
    path = tmp_path / "results.csv"
    frame.to_csv(path, index=False)
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"{line}," for line in lines)]))
    assert read_results(path).row.tolist() == ["KD", "KD"]


def test_an_error_names_the_line_also_behind_reasons_of_several_lines(tmp_path):
    frame = side(rows=[("KD", 0, None, "a"), ("KD", 1, 7.0, "b")], reason="first\nsecond\nthird").frame
    path = tmp_path / "results.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(BenchBenchError, match=r"results\.csv:5: accuracy is 7\.0"):
        read_results(path)
