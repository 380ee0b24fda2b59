"""A suite file, and the error of a changed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.errors import SuiteError
from benchbench.suite.file import load_suite

SUITE = """\
name: tiny
seeds: [0, 1]
data:
  cifar: {source: cifar10_subset, per_class: 4}
students:
  small:
    model: timm/test_efficientnet
    weights: {file: weights.bin}
teachers:
  big:
    model: timm/test_resnet
    adapt:
      scratch: {epochs: 2}
recipes:
  default: {epochs: 1, lr: 1e-3}
  distill:
    epochs: 3
arms:
  scratch: {method: scratch}
  distil:
    method: distill
    loss: {ce: 1, kd: {weight: 2, temperature: 3}}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "suite.yaml"


def error_of(path: Path, text: str, *overrides: str) -> SuiteError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides)
    return caught.value


def changed(old: str, new: str) -> tuple[str, int]:
    """The suite with one part replaced, and the line where the replacement stands."""
    assert SUITE.count(old) == 1, old
    return SUITE.replace(old, new), SUITE[: SUITE.index(old)].count("\n") + 1
