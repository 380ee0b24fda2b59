"""Registration of the built-in losses: one line each, in four tables; imports no torch."""

from __future__ import annotations

from benchbench.components import Component, Params
from benchbench.losses.catalog.presets import PRESETS
from benchbench.losses.catalog.venues import VENUES

# They read logits and work on those of a segmentation, each of its pixels a sample.
BY_PIXEL = frozenset({"ce", "kd", "logit_mse", "ttm", "ctkd", "dist"})
# Outputs of a network for an image as a whole; and losses that work with a linear classifier of it.
OF_IMAGES = frozenset({"teacher.logits", "hard_labels", "token"})
OF_CLASSIFIERS = frozenset({"simkd", "srrl", "catkd", "ofa", "sdd"})


def loss(name: str, attribute: str, params: type[Params], summary: str, *needs: str) -> Component:
    """A loss that lives in `benchbench/losses/methods/NAME.py`; for `needs` see `Component`."""
    target = f"benchbench.losses.methods.{name}:{attribute}"
    presets = PRESETS.get(name, ())
    # Losses on embeddings that can read maps instead.
    optional = {"maps": frozenset({"features"})} if "maps" in params.model_fields else {}
    dense = name in BY_PIXEL or not (name in OF_CLASSIFIERS or OF_IMAGES & set(needs) or not needs)
    return Component(
        name,
        target,
        params,
        summary,
        frozenset(needs),
        venue=VENUES[name],
        presets=presets,
        optional=optional,
        dense=dense,
    )
