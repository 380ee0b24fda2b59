"""Mean, standard deviation and channels of a model's input in a suite."""

import pytest

from benchbench.errors import SuiteError


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("mean=[0.5]", r"students\.small\.mean: write three numbers, for red, green and blue, and not 1; grey images"),
        ("mean=0.5", "write three numbers, for red, green and blue, and not 1"),
        ("mean=[0.5, 0.5, 0.5, 0.5]", "three numbers, .* and not 4"),
        ("std=[0.5, 0.5]", r"students\.small\.std: write three numbers, .* and not 2"),
        ("mean=[]", "three numbers, .* and not 0"),
        ("mean=[123.7, 116.8, 103.9]", r"images have values in 0\.\.1 here; divide by 255 .* \(given: 123\.7\)"),
        ("params={in_chans: 1}", r"in_chans: every image comes in three channels, grey ones too"),
        ("params={in_channels: 4}", r"in_channels: every image comes in three channels"),
    ],
)
def test_other_than_three_channels_are_refused_in_one_line(change, match, tiny_suite, plan_of, tmp_path):
    with pytest.raises(SuiteError, match=match) as caught:
        plan_of(tiny_suite(tmp_path), f"students.small.{change}")
    assert "\n" not in str(caught.value)


def test_three_are_taken(tiny_suite, plan_of, tmp_path):
    changes = ["mean=[0, 0, 0]", "std=[0.003921569, 1, 1]", "params={in_chans: 3}"]
    plan = plan_of(tiny_suite(tmp_path), *(f"students.small.{change}" for change in changes))
    assert plan.suite.students["small"].mean == (0, 0, 0)
