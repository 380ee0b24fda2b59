"""Short storms, the same in every session; `python -m tests.storms` has long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images import source, write_images
from tests.storms import claims, damage, finished, hostile, mutants
from tests.storms.command import Ended, fault_of

# Ways to fail in this process, and to change what other cells read.
LOSSES = ("raises", "nan", "nothing", "exits", "images_in_place", "labels_in_place")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("storms") / "images", train=4)


@pytest.fixture(scope="module")
def alone(images) -> tuple[Path, hostile.Outcome]:
    """The folder of a run without hostile losses, and what it came to."""
    folder = images.parent / "alone"
    return folder, hostile.run(folder, [], images)


def test_mutants_of_suites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [(name, fault) for name, fault in mutants.storm(0, 16, tmp_path) if fault] == []


@pytest.mark.whole_run
def test_damaged_stores(alone, tmp_path, monkeypatch):
    """A store of real records: made ones would lack what a run writes."""
    monkeypatch.chdir(tmp_path)
    folder, _ = alone
    storm = damage.storm(0, 12, folder / "suite.yaml", folder / "runs", tmp_path)
    assert [(name, fault) for name, fault in storm if fault] == []


@pytest.mark.whole_run
def test_hostile_losses(alone, images, tmp_path, monkeypatch):
    """Beside real trainings: nothing else shows that the weights of the others are the same."""
    monkeypatch.chdir(tmp_path)
    _, expected = alone
    outcome = hostile.run(tmp_path / "beside", LOSSES, images)
    assert expected.weights.keys() == hostile.PLAIN.keys()
    assert [(name, fault) for name, fault in hostile.faults(outcome, expected, LOSSES) if fault] == []


@pytest.mark.whole_run
def test_workers_of_one_store_that_are_killed_or_stopped(images, tmp_path):
    data = {"few": {"source": source(images)}}
    suite = finished.write(tmp_path, seeds=[0], data=data, recipes={"default": claims.RECIPE})
    assert [(name, fault) for name, fault in claims.storm(0, 3, suite, tmp_path) if fault] == []


def test_a_fault_is_seen():
    """The judge of the storms can say no."""
    place = r"suite\.yaml:\d+: "
    assert fault_of(Ended(2, "", "error: suite.yaml:3: wrong\n"), place) == ""
    assert fault_of(Ended(0, "a table\n", "")) == ""
    for ended in (
        Ended(2, "", "error: wrong\n"),
        Ended(2, "", "error: suite.yaml:3: a\nb\n"),
        Ended(2, "", f"error: suite.yaml:3: {'x' * 81}\n"),
        Ended(1, "", ""),
        Ended(0, "", "Traceback (most recent call last)"),
        Ended(-1, "", "", "KeyError: 3"),
    ):
        assert fault_of(ended, place)
