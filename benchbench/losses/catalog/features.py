"""Losses on the maps between stages: the early ones."""

from __future__ import annotations

from benchbench.components import Component

FEATURES: tuple[Component, ...] = ()
