"""Presets of losses, replaced by the weights and parameters that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchbench.components import Component, Preset
from benchbench.errors import UnknownNameError, did_you_mean, quoted
from benchbench.planning.resolve import Resolver
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import WeightedRef


def with_presets(file: SuiteFile, resolver: Resolver) -> SuiteFile:
    """A suite without presets: losses with the values of theirs, and the losses that belong beside them.

    What a loss sets itself wins over its preset, and so does a loss that an arm names over the weight that a preset
    gives it. A pre-training has its own losses alone.

    Raises:
        SuiteError: a preset that a loss does not have; two that give a third loss different weights.
    """
    suite = file.suite
    arms = {}
    for label, arm in suite.arms.items():
        losses = _Losses(resolver, ("arms", label, "loss")).resolved(arm.loss)
        arms[label] = arm if losses is None else arm.model_copy(update={"loss": losses})
    corpora = {}
    for label, entry in suite.pretraining.items():
        losses = _Losses(resolver, ("pretraining", label, "loss")).resolved(entry.loss or (), alone=True)
        corpora[label] = entry if losses is None else entry.model_copy(update={"loss": losses})
    return replace(file, suite=suite.model_copy(update={"arms": arms, "pretraining": corpora}))


class _Losses:
    """The losses at one place of a suite."""

    def __init__(self, resolver: Resolver, loc: Loc):
        self.resolver, self.loc = resolver, loc

    def resolved(self, refs: Sequence[WeightedRef], alone: bool = False) -> list[WeightedRef] | None:
        """The losses with the values of their presets; None where there is no preset.

        Args:
            refs: as the suite has them.
            alone: without those that belong beside them.
        """
        presets = {ref.name: self._preset(ref) for ref in refs if ref.preset is not None}
        if not presets:
            return None
        beside = [] if alone else self._beside(presets, [ref.name for ref in refs])
        return beside + [_filled(ref, presets[ref.name]) if ref.name in presets else ref for ref in refs]

    def _preset(self, ref: WeightedRef) -> Preset:
        loc = (*self.loc, ref.name)
        component: Component = self.resolver.component("loss", ref.name, loc)
        known = {preset.name: preset for preset in component.presets}
        if ref.preset in known:
            return known[ref.preset]
        hint = did_you_mean(str(ref.preset), known) if known else "it has none: write its weight and parameters"
        problem = f"loss '{ref.name}' has no preset '{quoted(str(ref.preset))}'; {hint}"
        raise self.resolver.file.error(problem, (*loc, "preset"))

    def _beside(self, presets: dict[str, Preset], named: list[str]) -> list[WeightedRef]:
        weights: dict[str, tuple[str, float]] = {}
        for loss, preset in presets.items():
            for other, weight in preset.beside.items():
                if other in named:
                    continue
                self._require_known(loss, preset, other)
                first, given = weights.setdefault(other, (loss, weight))
                if given != weight:
                    problem = f"presets of '{first}' and '{loss}' give '{other}' the weights {given:g} and {weight:g}"
                    raise self.resolver.file.error(problem, self.loc, f"write `{other}: WEIGHT` beside them")
        return [WeightedRef(name=other, weight=weight) for other, (_, weight) in weights.items()]

    def _require_known(self, loss: str, preset: Preset, other: str) -> None:
        try:
            self.resolver.registry.get("loss", other)
        except UnknownNameError as error:
            problem = f"preset '{preset.name}' of loss '{loss}' cannot be used: {error}"
            hint = "write the weight and the parameters of the preset in its place"
            raise self.resolver.file.error(problem, (*self.loc, loss, "preset"), hint) from None


def _filled(ref: WeightedRef, preset: Preset) -> WeightedRef:
    weight = ref.weight if "weight" in ref.model_fields_set else preset.weight
    return WeightedRef(name=ref.name, weight=weight, params={**preset.params, **ref.params})
