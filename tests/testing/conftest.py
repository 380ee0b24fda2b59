"""Components under test whose target is any object: `component(function, params=..., needs=...)`."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from benchbench.components import Component


@pytest.fixture
def component(monkeypatch) -> Callable[..., Component]:
    def make(target: Any, **fields: Any) -> Component:
        module = types.ModuleType("bb_under_test")
        module.target = target
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return Component("mine", "bb_under_test:target", **fields)

    return make
