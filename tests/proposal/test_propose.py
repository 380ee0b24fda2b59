"""A suite is written with as many epochs as fit, by what networks take here."""

from __future__ import annotations

import pytest

from benchbench.errors import BenchBenchError
from benchbench.proposal.folder import look_at
from benchbench.proposal.length import LONGEST, SHORTEST
from benchbench.proposal.propose import write_suite
from benchbench.proposal.suite_text import Network, Proposal
from benchbench.suite.file import load_suite
from tests.proposal.quick import measure_quickly
from tests.proposal.test_folder import fill

SMALL = Network.of_library("timm/test_efficientnet"), Network.of_library("timm/test_resnet", is_teacher=True)


@pytest.fixture
def proposal(tmp_path, monkeypatch) -> Proposal:
    measure_quickly(monkeypatch)
    return Proposal("photos", tmp_path / "photos.yaml", look_at(fill(tmp_path / "photos", 10)), *SMALL)


@pytest.mark.whole_run
def test_lengths_follow_the_hours(proposal, tmp_path):
    options = {"store": tmp_path / "runs", "device": "cpu", "jobs": 1, "executor": "inline"}
    few = write_suite(proposal, 1e-9, **options)
    assert few.epochs == load_suite(proposal.file).suite.recipes.default.epochs == SHORTEST
    assert few.hours > 1e-9
    with pytest.raises(BenchBenchError, match=r"photos.yaml exists already; give another --output FILE"):
        write_suite(proposal, 1.0, **options)
    proposal.file.unlink()
    some = write_suite(proposal, 10 * few.hours, **options)
    assert SHORTEST < some.epochs < LONGEST
    assert 5 * few.hours < some.hours <= 10 * few.hours
    assert f"{some.epochs} epochs: about " in proposal.file.read_text()


def test_a_suite_that_cannot_be_planned_is_not_left(proposal, tmp_path):
    with pytest.raises(BenchBenchError, match="device"):
        write_suite(proposal, 1.0, store=tmp_path / "runs", device="nonsense")
    assert not proposal.file.exists()
