"""Tests for authors of plugins: each component's contract as checks whose messages say what to change.

Imports no torch: the libraries of a kind of component are imported when one is checked.
"""

from benchbench.testing.check import Check, CheckResult
from benchbench.testing.conformance import check_component, checks_of, failures

__all__ = ["Check", "CheckResult", "check_component", "checks_of", "failures"]
