"""Registration of the built-in losses: one line each, in four tables; imports no torch."""

from __future__ import annotations

from benchbench.components import Component, Params
from benchbench.losses.catalog.presets import PRESETS
from benchbench.losses.catalog.venues import VENUES


def loss(name: str, attribute: str, params: type[Params], summary: str, *needs: str) -> Component:
    """A loss that lives in `benchbench/losses/methods/NAME.py`; for `needs` see `Component`."""
    target = f"benchbench.losses.methods.{name}:{attribute}"
    presets = PRESETS.get(name, ())
    # Losses on embeddings that can read maps instead.
    optional = {"maps": frozenset({"features"})} if "maps" in params.model_fields else {}
    return Component(
        name, target, params, summary, frozenset(needs), venue=VENUES[name], presets=presets, optional=optional
    )
