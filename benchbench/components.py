"""Components, the named things that plugins offer, with checked parameters; and their registry."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pluggy
from pydantic import BaseModel, ConfigDict, ValidationError

from benchbench.errors import PluginError, UnknownNameError, did_you_mean, one_line

PROJECT = "benchbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# What a loss reads beside the student's own outputs, in this order.
NEEDS_IN_WORDS = {
    "teacher": "the teacher's embedding",
    "teacher.logits": "the teacher's task logits",
    "features": "the maps between stages of both networks",
    "token": "the student's distillation token",
    "hard_labels": "one label of each image, which mixed ones do not have",
    "pixels": "the classes of pixels",
    "boxes": "the boxes of objects",
    "second_view": "a second view of each image",
}
# What parameters have a loss read in place of that, by the needs that they add.
INSTEAD_IN_WORDS = {
    frozenset({"features"}): "the maps between stages",
    frozenset({"teacher.logits", "pixels"}): "the logits of both networks",
}
LOSS_NEEDS = frozenset(NEEDS_IN_WORDS)
AUGMENTER_NEEDS = frozenset({"labels", "synthesis"})
KINDS = (
    "teacher",
    "student",
    "head",
    "loss",
    "augmenter",
    "dataset",
    "executor",
    "metric",
    "report",
    "figure",
    "template",
)


class Params(BaseModel):
    """Base of a component's parameters: typed, frozen, unknown names and .inf and .nan refused.

    A `Path` among them enters the keys of stages as the content found there.

    Attributes:
        takes_channels: of a model source: its target takes `in_chans`, the number of channels of images, beside its
            parameters, where that is not 3.
        adds: of a loss: needs that its parameters of truth values add where they are true, whatever component has them.
        of_weights: of a model source: arguments that networks with weights of its library's own have, by "NAME.TAG" in
            lower case. A trained network is built again by them, and without the weights.
        needs_rgb: of an augmenter: it works on images of three channels alone.
        masks: of an augmenter, what becomes of the masks of a segmentation: "kept" where it moves no pixel; "moved"
            where its target takes `masks` [B, H, W], uint8, beside its parameters, and gives (images, masks) then.
            None: it is refused there.
        boxes: of an augmenter, what becomes of boxes: "moved" where its target takes their corners `boxes` [B, M, 4],
            in pixels, beside its parameters, and gives (images, boxes) then; they may leave the image, and are cut
            afterwards. One that keeps masks keeps boxes.
        instead_of: remedies for names that it does not have and a user may expect, by these names.
    """

    takes_channels: ClassVar[bool] = False
    adds: ClassVar[Mapping[str, frozenset[str]]] = {}
    of_weights: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    needs_rgb: ClassVar[bool] = False
    masks: ClassVar[Literal["kept", "moved"] | None] = None
    boxes: ClassVar[Literal["moved"] | None] = None
    instead_of: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def fingerprint(self) -> object:
        """Fingerprint of a component beside its code and its parameters: it enters the keys of stages.

        Returns:
            None for nothing, a `Path`, or a value of JSON; or a list, tuple or dict of these. Of a path, the content of
            the file or folder counts, and not its place.
        """
        return None


NO_PARAMS = Params()


@dataclass(frozen=True)
class Preset:
    """Published settings of a loss, which a suite takes by `{preset: NAME}`.

    Attributes:
        name: how a suite names it.
        source: the script or the table that the values are from.
        weight: of the loss in the sum.
        params: every parameter that the source states; the others keep their defaults.
        beside: weights of the losses that the source adds to it. They join an arm that does not name them.
    """

    name: str
    source: str
    weight: float = 1.0
    params: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=lambda: {"ce": 1.0})


@dataclass(frozen=True)
class Component:
    """One named thing that a plugin offers.

    Attributes:
        name: how a suite names it.
        target: "package.module:attribute", imported only when a stage needs it, so that listing components never
            imports torch.
        params: a `Params` class; the suite's parameters are checked against it before any compute is spent.
        summary: one line for `benchbench list`.
        needs: for losses, the inputs beside the student's logits and embedding, out of
            `teacher` (its embedding), `teacher.logits` (task logits: an adapted teacher), `features` (the maps between
            stages, of the student and of the teacher if it has one), `token` (the logits of the student's
            distillation token) and `hard_labels` (`Batch.labels` or `Batch.index`, as the one class of an image: it
            cannot work on mixed images) and `pixels` (`Batch.masks`, or logits as maps of the classes: it works on
            segmentations alone), `boxes` (`Batch.boxes`, or outputs as those of detections: it works on these alone,
            and `boxes` below is set; with `teacher.logits`, teacher and student have the same points) and
            `second_view` (the outputs and the images of another draw of each image's augmentation). With several
            teachers, a loss that reads `teacher.logits` alone gets their weighted mean once; any other is built and
            added up once per teacher.
            For augmenters, `labels`: it mixes images and so their labels, and has the form for that; `synthesis`: it
            generates images, in a stage of its own, and its target is a `benchbench.synthesis.base.ImageGenerator`.
        version: part of the key of every stage that uses the component, beside the hash of its source. Set it where
            behaviour depends on something outside of the source.
        venue: where the method was published, "CVPR 2022"; for losses.
        presets: published settings; for losses.
        optional: parameters of truth values, each with the needs that it adds where it is true; for losses. Those that
            `params` has itself (`Params.adds`) are among them.
        dense: of a loss: it works on a segmentation too, where logits are [B, classes, h, w] and labels are masks. Of a
            metric: it reads the answers of a segmentation.
        boxes: of a loss: it works on a detection too, where logits are [B, A, classes] and labels are boxes. Of a head:
            it is one of detections, a `benchbench.models.detection.DetectionHead`. Of a metric: it reads those of a
            detection.
        replaces_head: of a loss: its target gives the student another classifier, by `make_head`. No arm can go on from
            a student of it, since the other one is of that training alone.
    """

    name: str
    target: str
    params: type[Params] = Params
    summary: str = ""
    needs: frozenset[str] = frozenset()
    version: str = ""
    venue: str = ""
    presets: tuple[Preset, ...] = field(default=(), hash=False)
    optional: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    dense: bool = False
    boxes: bool = False
    replaces_head: bool = False

    def __post_init__(self) -> None:
        """Raises PluginError for a component that would only fail later, away from its plugin."""
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", self.name):
            raise PluginError(f"a component's name is made of letters, digits, - and _, not {self.name!r}")
        if not isinstance(self.target, str) or not re.fullmatch(r"[\w.]+:\w+", self.target):
            raise PluginError(f"component '{self.name}': its target is written 'package.module:attribute'")
        if not (isinstance(self.params, type) and issubclass(self.params, Params)):
            raise PluginError(f"component '{self.name}': its params must be a class derived from benchbench.Params")
        object.__setattr__(self, "optional", {**self.params.adds, **self.optional})
        known = LOSS_NEEDS | AUGMENTER_NEEDS
        if not isinstance(self.needs, frozenset) or not self.needs <= known:
            raise PluginError(f"component '{self.name}': its needs must be a frozenset of {', '.join(sorted(known))}")
        if not all(name in self.params.model_fields and needs <= LOSS_NEEDS for name, needs in self.optional.items()):
            raise PluginError(f"component '{self.name}': `optional` has needs of losses, by parameters of its own")
        for preset in self.presets:
            for name in preset.params.keys() - self.params.model_fields.keys():
                raise PluginError(f"component '{self.name}': preset '{preset.name}' sets '{name}', which it has not")
            if problem := self._preset_problem(preset):
                raise PluginError(f"component '{self.name}': preset '{preset.name}' {problem}")

    def _preset_problem(self, preset: Preset) -> str | None:
        """The error in the values of a preset; parameters that it leaves to the suite may be missing."""
        for name, weight in {**preset.beside, self.name: preset.weight}.items():
            if not isinstance(weight, int | float) or not 0 < weight < math.inf:
                return f"gives '{name}' the weight {weight!r}; a weight is above 0 and finite"
        try:
            self.params.model_validate({**preset.params})
        except ValidationError as error:
            for each in error.errors(include_url=False):
                if each["type"] != "missing":
                    name = ".".join(str(part) for part in each["loc"])
                    return f"sets values that it refuses: {name}{': ' if name else ''}{one_line(each['msg'])}"
        return None

    def needs_of(self, arguments: Mapping[str, Any]) -> frozenset[str]:
        """The needs with some parameters: of a loss, those that they add too."""
        return self.needs.union(*(needs for name, needs in self.optional.items() if arguments.get(name)))

    @property
    def reads(self) -> str:
        """Inputs of a loss beside the student's own outputs, in words."""
        # Maps of the teacher come with its embedding, and such a loss reads the maps.
        needs = self.needs - {"teacher"} if "features" in self.needs else self.needs
        return _needs_in_words(needs) or "nothing of a teacher"

    @property
    def reads_by_parameters(self) -> str:
        """The same, with what parameters have it read."""
        added = [needs for needs in dict.fromkeys(self.optional.values()) if not needs <= self.needs]
        words = [INSTEAD_IN_WORDS.get(needs) or _needs_in_words(needs) for needs in added]
        return "".join([self.reads, *(f", or {each}" for each in words)])

    @property
    def reads_teacher(self) -> bool:
        """True of a loss that cannot be without a teacher."""
        return bool(self.needs & {"teacher", "teacher.logits"})

    @property
    def mixes(self) -> bool:
        """True for an augmenter that mixes images and their labels."""
        return "labels" in self.needs

    @property
    def generates(self) -> bool:
        """True for an augmenter that generates images."""
        return "synthesis" in self.needs

    def load(self) -> Any:
        """The target itself.

        Raises:
            PluginError: the module cannot be imported, or has no such attribute.
        """
        module_name, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module_name), attribute)
        except Exception as error:
            raise PluginError(f"component '{self.name}': cannot load {self.target} ({one_line(error)})") from error


def _needs_in_words(needs: frozenset[str]) -> str:
    words = [text for need, text in NEEDS_IN_WORDS.items() if need in needs]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@dataclass(frozen=True)
class Offer:
    """A component together with the plugin that offers it."""

    kind: str
    component: Component
    origin: str

    def __post_init__(self) -> None:
        """Raises PluginError for needs that components of this kind cannot have, and that would be ignored."""
        known = {"loss": LOSS_NEEDS, "augmenter": AUGMENTER_NEEDS}.get(self.kind, frozenset())
        if foreign := sorted(self.component.needs - known):
            rule = f"may need {', '.join(sorted(known))}" if known else "has no needs"
            raise PluginError(f"component '{self.component.name}': {self.kind} {rule}; not {', '.join(foreign)}")


@dataclass
class Registry:
    """All components of one run, by kind and name.

    Attributes:
        offers: by kind and name of the component; two plugins may claim one name.
        failed_plugins: reasons of plugins that did not load, by their names.
        plugin_files: files that were loaded, in this order; one may offer no component and change a library instead.
        take_turn: called before components are handed out: another plan of this process may use the names of modules.
    """

    offers: dict[str, dict[str, list[Offer]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    failed_plugins: Mapping[str, str] = field(default_factory=dict)
    plugin_files: list[Path] = field(default_factory=list)
    take_turn: Callable[[], object] | None = None

    def add(self, offer: Offer) -> None:
        self.offers[offer.kind].setdefault(offer.component.name, []).append(offer)

    def get(self, kind: str, name: str) -> Component:
        """The component of that kind and name.

        Raises:
            UnknownNameError: no plugin offers it.
            PluginError: two plugins do.
        """
        if self.take_turn:
            self.take_turn()
        offers = self.offers[kind].get(name, [])
        if not offers:
            failed = "; ".join(
                f"plugin {plugin} did not load: {reason}" for plugin, reason in self.failed_plugins.items()
            )
            hint = did_you_mean(name, self.offers[kind])
            raise UnknownNameError(f"unknown {kind} '{name}'; {hint}{'; ' + failed if failed else ''}")
        if len(offers) > 1:
            origins = " and ".join(sorted(offer.origin for offer in offers))
            raise PluginError(f"{kind} '{name}' is claimed by {origins}; uninstall or rename one of them")
        return offers[0].component

    def of_kind(self, kind: str) -> Iterable[Offer]:
        """Every offer of one kind, by name; a name with two claims comes twice."""
        if self.take_turn:
            self.take_turn()
        return [offer for name in sorted(self.offers[kind]) for offer in self.offers[kind][name]]
