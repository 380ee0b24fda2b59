"""A plan in the making: each stage once, by its key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchbench.data.info import DataInfo
from benchbench.hardware.devices import Devices
from benchbench.planning.keys import key_of
from benchbench.planning.model import Stage
from benchbench.planning.resolve import Resolver
from benchbench.specs.stages import StageSpec
from benchbench.suite.document import Loc
from benchbench.suite.schema import Suite


@dataclass(frozen=True)
class PlanDraft:
    """The stages so far, and all that further ones are made from.

    Attributes:
        suite: the suite.
        resolver: looks up the components that it names.
        devices: the ones that it would run on.
        info: sizes of each data set, and of each corpus by its `corpus_label`.
        stages: by key, each after those it needs.
        corpora: label of the pre-training of each stage of that kind, by key.
        device_locs: place in the suite that says so, of each stage that takes several devices, by key.
        optimizer_locs: place in the suite of the optimiser, or of its rates, of each stage whose optimiser takes more
            than its name to know, by key.
        without_dot: keys of the stages whose recipe has a `dot` that does nothing there.
    """

    suite: Suite
    resolver: Resolver
    devices: Devices
    info: dict[str, DataInfo]
    stages: dict[str, Stage] = field(default_factory=dict)
    corpora: dict[str, str] = field(default_factory=dict)
    device_locs: dict[str, Loc] = field(default_factory=dict)
    optimizer_locs: dict[str, Loc] = field(default_factory=dict)
    without_dot: set[str] = field(default_factory=set)

    @property
    def threads(self) -> int | None:
        """CPU threads that a measurement holds for; None on a GPU."""
        return self.devices.threads if self.devices.kind == "cpu" else None

    def add(
        self, spec: StageSpec, label: str, soft_needs: dict[str, str] | None = None, cohort: str | None = None
    ) -> str:
        """Adds a stage unless it is in the plan, and gives its key."""
        key = key_of(spec)
        self.stages.setdefault(key, Stage(spec, key, label, spec.needs, soft_needs or {}, cohort))
        return key

    def take_devices(self, key: str, devices: int, loc: Loc) -> None:
        """Has several devices train the network of a stage; of two parts of a suite that ask, the higher number."""
        stage = self.stages[key]
        if devices > stage.devices:
            self.stages[key] = replace(stage, devices=devices, cohort=None)
            self.device_locs[key] = loc
