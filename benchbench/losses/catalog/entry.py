"""Registration of the built-in losses: one line each, in four tables; imports no torch."""

from __future__ import annotations

from benchbench.components import Component, Params


def loss(name: str, attribute: str, params: type[Params], summary: str, *needs: str) -> Component:
    """A loss that lives in `benchbench/losses/methods/NAME.py`; for `needs` see `Component`."""
    return Component(name, f"benchbench.losses.methods.{name}:{attribute}", params, summary, frozenset(needs))
