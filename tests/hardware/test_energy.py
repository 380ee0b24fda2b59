"""Energy: counters that wrap, that are not there or may not be read, and what a stage takes up from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbench.hardware.energy import Boards, Processors, StageMeter, open_counter


@pytest.fixture
def powercap(tmp_path):
    """Sets the counters (microjoules) of two packages and of a part of the first in a powercap tree."""

    def write(*values: int) -> Path:
        for name, value in zip(("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"), values, strict=True):
            zone = tmp_path / name
            zone.mkdir(exist_ok=True)
            (zone / "energy_uj").write_text(f"{value}\n")
            (zone / "max_energy_range_uj").write_text("1000000000\n")
        return tmp_path

    return write


def test_packages_add_up_and_their_parts_do_not_count_twice(powercap):
    counter = Processors(powercap(5_000_000, 100, 7))
    powercap(6_500_000, 2_000_100, 999)
    assert counter.joules() == pytest.approx(1.5 + 2.0)


def test_a_counter_that_begins_anew_goes_on(powercap):
    counter = Processors(powercap(999_000_000, 0, 0))
    powercap(500_000, 0, 0)
    assert counter.joules() == pytest.approx(1.5)
    powercap(900_000, 0, 0)
    assert counter.joules() == pytest.approx(1.9)


def test_no_counter_is_no_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no energy counters"):
        Processors(tmp_path)
    monkeypatch.setattr("benchbench.hardware.energy.POWERCAP", tmp_path)
    assert open_counter("cpu") is None


def test_nvml_without_a_driver_is_no_error():
    """The real library, on a machine that may have no board of that number."""
    assert open_counter("cuda", [4711]) is None


def test_boards_are_read_in_joules():
    values = {0: 10_000, 3: 2_000}
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetTotalEnergyConsumption=lambda board: values[board],  # millijoules
    )
    counter = Boards([0, 3], nvml)
    values.update({0: 12_500, 3: 2_250})
    assert counter.joules() == pytest.approx(2.75)


class TestStage:
    def test_it_has_its_share_since_it_began_and_what_it_went_on_from(self, powercap):
        counter = Processors(powercap(0, 0, 0))
        powercap(8_000_000, 0, 0)
        meter = StageMeter(counter, share=0.25)
        meter.carry(3.0)
        powercap(10_000_000, 0, 0)
        assert meter.joules() == pytest.approx(3.0 + 0.25 * 2.0)

    def test_an_attempt_that_was_not_measured_makes_the_whole_unknown(self, powercap):
        meter = StageMeter(Processors(powercap(0, 0, 0)))
        meter.carry(None)
        assert meter.joules() is None
        assert StageMeter().joules() is None

    def test_a_counter_that_falters_does_not_end_a_run(self, powercap):
        root = powercap(0, 0, 0)
        counter = Processors(root)
        meter = StageMeter(counter)
        (root / "intel-rapl:0" / "energy_uj").write_text("no number")
        assert counter.joules() is meter.joules() is None
        powercap(2_000_000, 0, 0)
        assert meter.joules() == pytest.approx(2.0)


def test_a_board_that_falls_off_the_bus_is_unknown():
    def lost(board):
        raise OSError("GPU is lost")

    nvml = SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=int, nvmlDeviceGetTotalEnergyConsumption=lambda board: 1000
    )
    counter = Boards([0], nvml)
    nvml.nvmlDeviceGetTotalEnergyConsumption = lost
    assert counter.joules() is None
