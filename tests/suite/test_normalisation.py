"""Mean, standard deviation and channels of a model's input in a suite."""

import pytest

from benchbench.errors import SuiteError


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("mean=[0.5]", r"mean has 1 numbers, and images of 'cifar' have 3 channels; give one for"),
        ("mean=0.5", "write a list with a number for each channel"),
        ("std=[0.5, 0.5]", r"std has 2 numbers"),
        ("mean=[]", "write a list with a number for each channel"),
        ("mean=[123.7, 116.8, 103.9]", r"images have values in 0\.\.1 here; divide by 255 .* \(given: 123\.7\)"),
        ("params={in_chans: 1}", r"in_chans: the data set gives the channels of images, by `channels`; take it out"),
        ("params={in_channels: 4}", r"in_channels: the data set gives"),
    ],
)
def test_other_channels_than_the_data_have_are_refused_in_one_line(change, match, tiny_suite, plan_of, tmp_path):
    with pytest.raises(SuiteError, match=match) as caught:
        plan_of(tiny_suite(tmp_path), f"students.small.{change}")
    assert "\n" not in str(caught.value)


def test_three_are_taken(tiny_suite, plan_of, tmp_path):
    changes = ["mean=[0, 0, 0]", "std=[0.003921569, 1, 1]", "params={in_chans: 3}"]
    plan = plan_of(tiny_suite(tmp_path), *(f"students.small.{change}" for change in changes))
    assert plan.suite.students["small"].mean == (0, 0, 0)
