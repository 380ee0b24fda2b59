"""Losses that read a second view of each image: in cohorts of their own, and refused where there is none."""

from __future__ import annotations

import pytest

from benchbench.costs.estimate import views_of
from benchbench.errors import SuiteError

TEACHER = {"big": {"model": "timm/test_resnet", "adapt": ["scratch"]}}
ARMS = {name: {"method": "distill", "loss": {"ce": 1, name: 1}} for name in ("kd", "logit_mse", "vrm")}


@pytest.fixture
def plan(tiny_suite, plan_of, tmp_path):
    def made(**recipe):
        default = {"epochs": 1, "batch_size": 20, "image_size": 32, "augment": {"flip": {}}}
        changes = {"seeds": [0], "teachers": TEACHER, "arms": ARMS, "recipes": {"default": default | recipe}}
        return plan_of(tiny_suite(tmp_path, **changes))

    return made


def test_cells_without_it_do_not_pay_for_it(plan):
    """Others train in another cohort; where it is, the networks run twice as often."""
    made = plan()
    assert [views_of(made, made.stages[cell.stage].spec) for cell in made.cells] == [1, 1, 2]
    cohorts = {cell.arm: made.stages[cell.stage].cohort for cell in made.cells}
    assert cohorts["kd"] == cohorts["logit_mse"]
    assert cohorts["kd"] != cohorts["vrm"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"views": 2}, "`views` keeps a teacher's outputs of one at a time; take `views` out"),
        ({"augment": {}}, "`augment` is empty, so both would be the same; add an augmenter"),
        ({"augment": {"flip": {}, "mixup": {}}}, "mixed images have no other view; take out the augmenter that mixes"),
        ({"devices": 2}, "several devices share a batch of one; take `devices: 1`"),
    ],
)
def test_refused(plan, recipe, message):
    with pytest.raises(SuiteError, match=r"suite.yaml:\d+: ") as caught:
        plan(**recipe)
    assert f"loss 'vrm' reads a second view of each image, and {message}" in str(caught.value)
