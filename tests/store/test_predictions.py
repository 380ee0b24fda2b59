"""Predictions in the folder of a stage."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.errors import StoreError
from benchbench.store import Predictions, read_predictions, write_predictions


def predictions(count: int = 10_000, classes: int = 1000) -> Predictions:
    draws = np.random.default_rng(0)
    probabilities = np.sort(draws.dirichlet(np.ones(5), count))[:, ::-1].astype(np.float16)
    return Predictions(draws.integers(0, classes, count), draws.integers(0, classes, (count, 5)), probabilities)


def test_they_come_back_and_are_small(tmp_path):
    path, written = tmp_path / "predictions.npz", predictions()
    write_predictions(path, written)
    read = read_predictions(path)
    for name in ("labels", "classes", "probabilities"):
        assert np.array_equal(getattr(read, name), getattr(written, name))
    assert path.stat().st_size < 10_000 * 25
    content = path.read_bytes()
    write_predictions(path, written)
    assert path.read_bytes() == content  # not of the time


def test_a_stage_of_an_earlier_version_has_none(tmp_path):
    assert read_predictions(tmp_path / "predictions.npz") is None


@pytest.mark.parametrize("damage", ["text", "cut", "bits", "array", "empty", "shape", "names", "objects"])
def test_damage(tmp_path, damage):
    path = tmp_path / "predictions.npz"
    write_predictions(path, predictions(count=100))
    content = path.read_bytes()
    if damage in ("text", "cut", "bits"):
        damaged = {"text": b"text", "cut": content[:-30], "bits": content[:60] + b"\xff" * 20 + content[80:]}
        path.write_bytes(damaged[damage])
    elif damage == "array":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        labels = np.array([None] * 100) if damage == "objects" else np.arange(99 if damage == "shape" else 100)
        arrays = {"labels": labels, "classes": np.zeros((100, 0 if damage == "empty" else 5), np.uint8)}
        if damage != "names":
            arrays["probabilities"] = np.zeros((100, 5), np.float16)
        np.savez(path, **arrays)
    with pytest.raises(StoreError, match=r"predictions\.npz is damaged \(.*\); delete .* to run the stage again"):
        read_predictions(path)
