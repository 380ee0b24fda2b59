"""A part of the grid: its cells, the stages that they need, and what no cell has."""

from __future__ import annotations

import pytest

from benchbench.errors import BenchBenchError
from benchbench.planning.selection import chosen_part


@pytest.fixture
def plan(tiny_suite, tmp_path, plan_of):
    arms = {
        "scratch": {"method": "scratch"},
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        "longer": {"method": "scratch", "recipe": {"epochs": [1, 2]}},
    }
    return plan_of(tiny_suite(tmp_path, arms=arms))


def labels(plan):
    return [(cell.row, cell.seed) for cell in plan.cells]


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ([], [], 8),
        (["arm=distil"], [], 2),
        (["arm=distil,seed=0"], [], 1),
        (["arm=distil", "arm=scratch , seed = 1"], [], 3),
        ([], ["arm=scratch"], 6),
        (["seed=0"], ["arm=scratch", "arm=distil"], 2),
        (["method=distill"], [], 2),
        (["teacher=big"], [], 2),
        (["state=scratch"], [], 2),
        (["data=cifar,student=small"], ["seed=1"], 4),
        (["arm=longer"], [], 4),
        (["arm=distil, big (scratch)"], [], 2),
        (["seed=1, arm=distil, big (scratch), data=cifar"], [], 1),
    ],
)
def test_cells(plan, only, skip, expected):
    part = chosen_part(plan, only, skip)
    assert len(part.cells) == expected
    assert [cell for cell in plan.cells if cell in part.cells] == part.cells


def test_one_length_of_a_ladder(plan):
    row = next(cell.row for cell in plan.cells if cell.arm == "longer")
    assert labels(chosen_part(plan, [f"arm={row}"])) == [(row, 0), (row, 1)]


def test_stages_are_those_that_the_cells_need(plan):
    alone, distilled = chosen_part(plan, ["arm=scratch"]), chosen_part(plan, ["arm=distil,seed=1"])
    assert {stage.kind for stage in alone.stages.values()} == {"cell"}
    assert len(alone.stages) == 2
    (cell,) = distilled.cells
    assert set(distilled.stages) == {cell.stage, *plan.dependencies(cell.stage)}
    assert list(distilled.stages) == [key for key in plan.stages if key in distilled.stages]


def test_a_cell_that_a_chosen_one_goes_on_from_is_needed(tiny_suite, tmp_path, plan_of):
    arms = {
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        "again": {"method": "finetune", "start": "distil"},
        "and again": {"method": "finetune", "start": "again"},
    }
    part = chosen_part(plan_of(tiny_suite(tmp_path, arms=arms)), ["seed=1"], ["arm=distil", "arm=again"])
    assert labels(part) == [("and again", 1)]
    assert [(cell.arm, cell.seed) for cell in part.needed_cells] == [("distil", 1), ("again", 1)]
    assert {cell.stage for cell in [*part.cells, *part.needed_cells]} < part.stages.keys()
    assert part.part(("cell",)).needed_cells == []


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("only", "arm", "--only arm: write AXIS=LABEL, as in --only arm=KD,seed=0"),
        ("only", "arm=", "write AXIS=LABEL"),
        ("skip", "", "write AXIS=LABEL, as in --skip arm=KD,seed=0"),
        ("only", "arm=distil,sed=0", "there is no axis 'sed'; did you mean 'seed'?"),
        ("only", "arm=scratch,arm=distil", "names 'arm' twice; repeat the option: --only arm=A --only arm=B"),
        ("skip", "seed=0, seed=1", "--skip seed=0, seed=1 names 'seed' twice; repeat the option: --skip seed=A --skip"),
        ("only", "arms=KD", "there is no axis 'arms'; did you mean 'arm'?"),
        ("skip", "arm=distill", "--skip arm=distill: no cell has arm 'distill'; did you mean 'distil'?"),
        ("only", "seed=7", "no cell has seed '7'; known: 0, 1"),
    ],
)
def test_bad_choices(plan, option, text, message):
    with pytest.raises(BenchBenchError) as error:
        chosen_part(plan, **{option: [text]})
    assert message.removeprefix("--only arm: ") in str(error.value)
    assert "\n" not in str(error.value)


def test_no_cell_is_left(plan):
    with pytest.raises(BenchBenchError, match="--only seed=0 --skip method=scratch --skip arm=distil leaves none of 8"):
        chosen_part(plan, ["seed=0"], ["method=scratch", "arm=distil"])
