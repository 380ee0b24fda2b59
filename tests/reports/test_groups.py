"""Groups of results: the arm that others are compared with, beside chains of arms."""

from __future__ import annotations

import pytest

from benchbench.reports.groups import groups_of

KD = {"method": "distill", "loss": {"ce": 1, "kd": 1}}
TUNE, PROBE, SCRATCH = ({"method": method} for method in ("finetune", "linear_probe", "scratch"))


def on(start: str, arm: dict[str, object] = TUNE) -> dict[str, object]:
    return arm | {"start": start}


@pytest.mark.parametrize(
    ("arms", "reference"),
    [
        ({"KD": KD, "on": on("KD"), "tune": TUNE}, "tune"),
        ({"on": on("KD"), "KD": KD, "tune": TUNE}, "tune"),
        ({"scratch": SCRATCH, "on": on("scratch"), "tune": TUNE}, "tune"),
        ({"KD": KD, "probe": on("KD", PROBE), "on": on("probe"), "tune": TUNE}, "tune"),
        ({"again": on("KD"), "KD": on("tune", KD), "tune": TUNE}, "tune"),
        ({"probe": PROBE, "on": on("probe"), "tune": TUNE}, "on"),
        ({"KD": KD, "on": on("KD")}, None),
    ],
)
def test_the_reference_goes_on_from_no_distilled_student_and_none_from_scratch(make_lab, arms, reference):
    lab = make_lab(arms=arms)
    (group,) = groups_of(lab.frame()).values()
    assert group.reference == reference
    # An arm that distils is one wherever it starts.
    assert len(group.rows_by_method("distill")) == ("KD" in arms)
