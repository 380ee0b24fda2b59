"""Registration of the built-in losses: one line each, in five tables; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from benchbench.components import Component, Params
from benchbench.losses.catalog.presets import PRESETS
from benchbench.losses.catalog.venues import VENUES

# They read logits and work on those of a segmentation, each of its pixels a sample.
BY_PIXEL = frozenset({"ce", "kd", "logit_mse", "ttm", "ctkd", "dist", "tf_kd_self"})
# Outputs of a network for an image as a whole; and losses that work with a linear classifier of it, or replace it.
OF_IMAGES = frozenset({"teacher.logits", "hard_labels", "token"})
OF_CLASSIFIERS = frozenset({"simkd", "srrl", "catkd", "ofa", "sdd", "norm"})
# Of these, those that replace it.
REPLACING = frozenset({"simkd", "norm"})
# Parameters that have a loss read something else: maps instead of embeddings, or logits instead of maps. `DenseParams`
# have their own.
OPTIONAL: Mapping[str, frozenset[str]] = {
    "maps": frozenset({"features"}),
    "logits": frozenset({"teacher.logits", "pixels"}),
}


def loss(name: str, attribute: str, params: type[Params], summary: str, *needs: str) -> Component:
    """A loss that lives in `benchbench/losses/methods/NAME.py`; for `needs` see `Component`."""
    target = f"benchbench.losses.methods.{name}:{attribute}"
    presets = PRESETS.get(name, ())
    optional = {name: added for name, added in OPTIONAL.items() if name in params.model_fields}
    of_detections = "boxes" in needs
    # They read embeddings or maps, which every task has.
    of_all = not (of_detections or name in OF_CLASSIFIERS or OF_IMAGES & set(needs) or not needs)
    return Component(
        name,
        target,
        params,
        summary,
        frozenset(needs),
        venue=VENUES[name],
        presets=presets,
        optional=optional,
        dense=name in BY_PIXEL or of_all,
        boxes=name == "ce" or of_detections or (of_all and "pixels" not in needs and name not in BY_PIXEL),
        replaces_head=name in REPLACING,
    )
