"""The limit of a grid's size."""

from __future__ import annotations

import pytest

from benchbench.errors import SuiteError


@pytest.mark.parametrize(
    ("override", "part"),
    [("seeds=[0, 1, 2, 3]", "seeds"), ("arms={a: {method: scratch}, b: {method: scratch}}", "arms")],
)
def test_more_cells_than_can_be_planned(plan_of, tiny_suite, tmp_path, monkeypatch, override, part):
    monkeypatch.setattr("benchbench.planning.limits.MOST_CELLS", 3)
    with pytest.raises(SuiteError, match="more than 3 cells in the grid; split the suite") as caught:
        plan_of(tiny_suite(tmp_path), override)
    assert str(caught.value).startswith(f"--set {part}: ")
