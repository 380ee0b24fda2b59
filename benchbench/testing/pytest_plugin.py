"""A fixture for plugins' own tests; a test module gets it by `pytest_plugins = "benchbench.testing.pytest_plugin"`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.testing.conformance import checks_of, failures


@pytest.fixture
def conformance() -> Callable[..., None]:
    """Fails with one line per check that a plugin fails: `conformance(FILE, model="small")`, as `checks_of`."""

    def check(*targets: str | Path, **options: Any) -> None:
        __tracebackhide__ = True
        lines = failures(checks_of(*targets, **options))
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)

    return check
