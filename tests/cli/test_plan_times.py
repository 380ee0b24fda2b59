"""`benchbench plan`: a part of the grid, and the time that is left."""

from __future__ import annotations

import re

import pytest


def test_a_part_of_the_grid(cli, suite, fake_costs):
    done = cli("plan", suite, "--only", "arm=distil,seed=0", "--only", "arm=scratch", "--skip", "seed=1")
    assert done.out.startswith("tiny: 2 cells in 3 stages, 0 done")
    chain = cli("plan", suite, "--set", "arms.again={method: finetune, start: distil}", "--skip", "arm=distil")
    assert chain.out.startswith("tiny: 4 cells in 7 stages, 0 done"), chain.err
    refused = cli("plan", suite, "--skip", "arm=scrath")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: --skip arm=scrath: no cell has arm 'scrath'; did you mean 'scratch'?\n"


@pytest.fixture
def an_hour_each(monkeypatch):
    def predicted(plan, _store):
        return dict.fromkeys(plan.stages, plan.devices.num_devices)

    monkeypatch.setattr("benchbench.reports.plan_overview.predict", predicted)


def test_time_that_is_left(cli, suite, fake_costs, an_hour_each):
    """Two cells alone, and two that wait for the teacher."""
    plan = ("plan", suite, "--device", "cpu", "--jobs")
    assert "time: 5 h on 1 slot (predicted)" in cli(*plan, 1).out.splitlines()
    assert "time: 3 h on 2 slots (predicted, at least 2 h 30 min)" in cli(*plan, 2).out.splitlines()
    price = ("--set", "factors.price=2", "--set", "factors.currency=EUR")
    found = re.search(
        r"time: 3 h on 2 slots \(predicted, at least 2 h 30 min, and (\d+)\.00 EUR\)", cli(*plan, 2, *price).out
    )
    threads = int(found[1]) / 12  # 2 slots of so many devices for 3 hours, at 2 EUR
    assert threads >= 1
    assert threads == int(threads)


def test_times_on_more_slots(cli, suite, fake_costs, an_hour_each):
    lines = cli("plan", suite, "--device", "cpu", "--jobs", 2, "--times").out.splitlines()
    rows = lines[next(index for index, line in enumerate(lines) if line.startswith("slots")) + 2 :]
    table = [line.split("  ") for line in rows]
    assert [[cell.strip() for cell in row if cell] for row in table] == [
        ["1", "5 h", "5 h", "100%"],
        ["2", "3 h", "2 h 30 min", "83%"],
        ["4", "2 h", "2 h", "62%"],
    ]


def test_no_time_is_said_that_is_not_known(cli, suite, fake_costs):
    assert "time:" not in cli("plan", suite, "--times").out
