"""Losses on the maps between stages: those with connectors across stages, or on the last map."""

from __future__ import annotations

from benchbench.components import Component

STAGES: tuple[Component, ...] = ()
