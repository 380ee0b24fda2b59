"""Tests for authors of plugins: each component's contract as checks whose messages say what to change.

Imports no torch: the libraries of a kind of component are imported when one is checked.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbench.testing.check import Check, CheckResult
    from benchbench.testing.conformance import check_component, checks_of, failures

__all__ = ["Check", "CheckResult", "check_component", "checks_of", "failures"]
_MODULES = {"Check": "check", "CheckResult": "check"}


def __getattr__(name: str) -> object:
    """Imports a name when it is used: the command line has the scaffolds alone from here, and starts faster."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'conformance')}"), name)
