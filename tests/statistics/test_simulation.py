"""The simulation itself, and the command that prints it."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import numpy as np
import pytest

from benchbench.statistics.simulation import DISTRIBUTIONS, bootstrap_coverage, simulated_verdicts, t_coverage


@pytest.mark.parametrize(("name", "skewness"), [("normal", 0.0), ("skewed", -2.0)])
def test_distributions_have_mean_0_and_deviation_1(name, skewness):
    drawn = DISTRIBUTIONS[name](np.random.default_rng(0), 200_000)
    assert (drawn.mean(), drawn.std(), (drawn**3).mean()) == pytest.approx((0, 1, skewness), abs=0.06)


def test_a_bootstrap_of_two_runs_holds_the_truth_half_of_the_time():
    # Its interval is from the smaller to the larger run; they lie on different sides of the median half of the time.
    assert bootstrap_coverage("normal", 2, 4000, resamples=200) == pytest.approx(0.5, abs=0.025)


def test_a_level_that_is_asked_for():
    assert t_coverage("normal", 4, 20_000, level=0.8) == pytest.approx(0.8, abs=0.01)


def test_the_reference_is_shared_by_the_arms():
    """Verdicts on equal arms go together, since they are compared with the same runs."""
    wrong = simulated_verdicts(10, 1.0, [0.0, 0.0], 4000, alpha=0.5) == "surpasses"
    assert (wrong[:, 0] & wrong[:, 1]).mean() > 1.5 * wrong[:, 0].mean() * wrong[:, 1].mean()


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Exit code, output and errors of `python -m benchbench.statistics ARGUMENTS`, in this process."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["", *arguments])
        code = 0
        try:
            runpy.run_module("benchbench.statistics", run_name="__main__")
        except SystemExit as error:
            code = int(str(error.code))
        return code, *capsys.readouterr()

    return run


def test_the_command_prints_four_tables(command):
    code, out, _ = command("20")
    assert code == 0
    assert out.count("|:---") == 4
    assert "| normal |   3 |" in out
    assert "20 draws" in out


@pytest.mark.parametrize("argument", ["many", "0"])
def test_draws_are_a_number(command, argument):
    assert command(argument) == (2, "", "usage: python -m benchbench.statistics [DRAWS], a whole number above 0\n")
