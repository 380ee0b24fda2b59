"""Epochs that fit into the hours that there are."""

from __future__ import annotations

import pytest

from benchbench.proposal.length import LONGEST, SHORTEST, fitting_epochs


@pytest.mark.parametrize(
    ("hours", "epochs"),
    [(3.0, 20), (2.99, 19), (0.1, SHORTEST), (1e6, LONGEST), (1.5, SHORTEST)],
)
def test_time_is_a_line(hours, epochs):
    assert fitting_epochs(lambda each: 1.0 + 0.1 * each, hours) == epochs


@pytest.mark.parametrize("known", [None, 1.0])
def test_without_a_prediction_it_is_the_shortest(known):
    assert fitting_epochs(lambda epochs: known, 10.0) == SHORTEST
