"""Resources of a run beside time: numbers by hand, and none where they are unknown."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.resources import resources

PRICES = {"factors": {"price": 2.5, "currency": "EUR", "grams_co2": 400, "source": "our bill"}}


def rows(table) -> dict[str, dict[str, str]]:
    return {
        entries[0].text: dict(zip(table.columns[1:], (entry.text for entry in entries[1:]), strict=True))
        for entries in table.rows
    }


@pytest.fixture
def ran(make_lab):
    """Three distilled runs of 2 hours and 7.2 MJ behind a teacher of 6 hours and 10.8 MJ; the other arms missing."""

    def make(joules: float | None = 7.2e6, **changes):
        lab = make_lab(**changes)
        lab.finish(lab.teacher(), 0.9, 6.0, energy_joules=10.8e6)
        for cell in lab.cells("distil"):
            lab.finish(cell.stage, 0.5, 2.0, energy_joules=joules, peak_bytes=3_000_000_000)
        return resources(lab.frame(), lab.plan)

    return make


def test_what_is_measured(ran):
    table = ran()
    texts = rows(table)
    assert texts["distil, big (scratch)"] == {
        "parameters (M)": "0.000123",
        "FLOPs per image (G)": "4.00",
        "memory (GB)": "3.00",
        "energy (kWh)": "3.00",  # 7.2 MJ and a third of 10.8
        "n": "3",
    }
    assert set(texts["scratch"].values()) == {"–"}


def test_prices_only_where_factors_are_given(ran):
    table = ran(**PRICES)
    texts = rows(table)["distil, big (scratch)"]
    assert texts["price (EUR)"] == "10.0"  # (2 + 6 / 3) hours
    assert texts["CO2 (g)"] == "1,200"
    assert "price per device-hour: 2.5; grams of CO2 per kWh: 400 (our bill)" in table.notes


def test_energy_that_was_not_measured_is_not_made_up(ran):
    assert rows(ran(None, **PRICES))["distil, big (scratch)"]["CO2 (g)"] == "n/a"


def test_stated_watts_give_an_estimate_that_says_so(ran):
    table = ran(None, factors={"watts": 250})
    assert rows(table)["distil, big (scratch)"]["energy (kWh)"] == "≈ 1.00"
    assert "≈: not measured, at 250 W per device" in table.notes


def test_nothing_done_nothing_shown(make_lab):
    lab = make_lab()
    assert resources(lab.frame(), lab.plan) is None


def test_the_speed_of_the_machine_by_a_reference_step(finished):
    assert not any("reference step" in note for note in resources(finished.frame(), finished.plan).notes)
    for cell, seconds in zip(finished.cells("tune"), (0.0111, 0.0222, 0.0999), strict=True):
        finished.change(cell.stage, "environment", reference_seconds=seconds)
    notes = resources(finished.frame(), finished.plan).notes
    assert any("can be compared: 22.2 ms on Big GPU (forward and backward pass of three" in note for note in notes)
