"""The state of a worker's process, which stages find as the first one did."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from benchbench.components import PROJECT, Offer, Registry
from benchbench.errors import GlobalStateError, PluginError, StageError
from benchbench.executors.base import Assignment
from benchbench.planning.keys import describe
from benchbench.planning.source_hash import forget_sources
from benchbench.training.global_state import THREADS, Change, StateWatch


class ProcessState:
    """Keeps the components of one stage from changing the process for the others, and their code as it was planned.

    Args:
        registry: of all components.

    Attributes:
        changes: made by the modules of components as they were imported, by "kind/name"; all have been put back.
        sources: hashes of the code of plugins' components as it was imported, by "kind/name".
        remarks: about the stages at hand, for their log and record.
    """

    def __init__(self, registry: Registry):
        self.registry = registry
        self.changes: dict[str, list[Change]] = {}
        self.sources: dict[str, str] = {}
        self.remarks: list[str] = []
        for offer in [each for kind in registry.offers for each in registry.of_kind(kind)]:
            if offer.component.target.partition(":")[0] in sys.modules:
                self._note_source(offer)

    def load(self, names: Iterable[str]) -> None:
        """Imports components; what their modules change as they are imported is put back."""
        for name in names:
            component = self.registry.get(*name.split("/", 1))
            is_loaded = component.target.partition(":")[0] in sys.modules
            if (offer := self._offer(name)) and name not in self.sources:
                self._note_source(offer, afresh=not is_loaded)
            if is_loaded:
                component.load()
                continue
            watch = StateWatch()
            component.load()
            if changes := watch.changes(thorough=True):
                self.changes[name] = changes

    def apart(self, stages: Sequence[Assignment]) -> dict[str, GlobalStateError]:
        """Of stages that are to run side by side, those that must not, by their keys."""
        if len(stages) < 2:
            return {}
        names = {stage.key: sorted(self.changes.keys() & stage.spec.components.keys()) for stage in stages}
        return {
            key: GlobalStateError(change.text for change in self.changes[found[0]])
            for key, found in names.items()
            if found
        }

    def _note_source(self, offer: Offer, afresh: bool = False) -> None:
        if offer.origin == PROJECT:
            return
        if afresh:  # as it is now, and not as it was planned in this process
            forget_sources()
        with contextlib.suppress(PluginError):  # without a source there is no plan with it either
            self.sources[f"{offer.kind}/{offer.component.name}"] = describe(offer.component).source

    def edited(self, stages: Sequence[Assignment]) -> dict[str, StageError]:
        """Stages with components whose code here is not that of the plan, under whose key they would be kept.

        It has been edited since, or this machine has another version.
        """
        found: dict[str, StageError] = {}
        for stage in stages:
            for name, planned in stage.spec.components.items():
                if self.sources.get(name, planned.source) != planned.source and (offer := self._offer(name)):
                    found[stage.key] = StageError(
                        f"{offer.kind} '{offer.component.name}' of {offer.origin} is not the code that was planned: it "
                        "has been edited since, or differs on this machine; run the same command again"
                    )
        return found

    @contextlib.contextmanager
    def kept(self, stages: Sequence[Assignment]) -> Iterator[None]:
        """The work of stages; all that it leaves changed is put back, and remarked on."""
        self.remarks = []
        watch, numbers = StateWatch(), (random.getstate(), np.random.get_state())
        if len(stages) == 1:
            for name in sorted(self.changes.keys() & stages[0].spec.components.keys()):
                for change in self.changes[name]:  # by its import, which came before
                    change.again()
        try:
            yield
        finally:
            texts = [change.text for change in watch.changes(thorough=True)]
            texts = [text for text in texts if not text.startswith(THREADS)]  # each stage sets its own
            random.setstate(numbers[0])
            np.random.set_state(numbers[1])
            if texts:
                self.remarks = [f"{self.culprit(stages)} changed the state of the process: {', '.join(texts)}"]
                print(f"{self.remarks[0]}; it has been put back")

    def culprit(self, stages: Iterable[Assignment]) -> str:
        """The components of stages that may have changed something: those of plugins, where there are any."""
        names = dict.fromkeys(name for stage in stages for name in stage.spec.components)
        offers = [offer for name in names if (offer := self._offer(name)) and offer.origin != "benchbench"]
        words = [f"{offer.kind} '{offer.component.name}' of {offer.origin}" for offer in offers]
        if not words:
            return "a component"
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"

    def _offer(self, name: str) -> Offer | None:
        kind, _, component = name.partition("/")
        return next(iter(self.registry.offers[kind].get(component, [])), None)
