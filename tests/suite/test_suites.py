"""The suites that ship keep their promises: every loss of images is compared, the small version has the same arms."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.losses import benchbench_losses
from benchbench.suite.file import load_suite

SUITES = Path(__file__).parents[2] / "suites"


@pytest.mark.parametrize("name", ["losses", "losses_small"])
def test_every_loss_is_compared(name):
    names = {ref.name for arm in load_suite(SUITES / f"{name}.yaml").suite.arms.values() for ref in arm.loss}
    assert names == {component.name for component in benchbench_losses() if not {"pixels", "boxes"} & component.needs}


def test_the_small_comparison_has_the_arms_of_the_large_one():
    large, small = (load_suite(SUITES / f"{name}.yaml").suite.arms for name in ("losses", "losses_small"))
    assert list(small) == list(large)
    for label, arm in small.items():
        assert [ref.name for ref in arm.loss] == [ref.name for ref in large[label].loss], label
        assert arm.method == large[label].method


def test_published_figures_cover_every_arm_and_student():
    suite = load_suite(SUITES / "cifar100_published.yaml").suite
    covered = {(arm, student) for entry in suite.published for arm, row in entry.accuracy.items() for student in row}
    assert covered == {(name, each) for name, arm in suite.arms.items() for each in arm.students or suite.students}
    assert {teacher for entry in suite.published for teacher in entry.teachers} == set(suite.teachers)
