"""A student to export, and its forms: of torchvision, of the CIFAR networks, and of segmentations and detections.

A form is written by one function and loaded again by another that uses its files alone, so that the check is of the
files that other people get.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from pydantic import JsonValue
from torch import Tensor, nn

from benchbench.data.info import Task
from benchbench.errors import ExportError
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.models.detection import DetectionNetwork, candidates
from benchbench.models.outputs import Outputs
from benchbench.models.pixels import enlarged
from benchbench.models.segmentation import SegmentationNetwork
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, FileSpec, Json, ModelSpec, Spec, WeightsSpec
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.store import file_sha256

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# Fields of a model's spec that its config.json has beside mean and std.
MODEL_FIELDS = {"source", "name", "params", "input_size"}
SEGMENTATION: Task = "segmentation"
DETECTION: Task = "detection"


class Preprocessing(Spec):
    """Preparation of images for the network, by timm's names: resized to size / crop_pct, cropped, normalised.

    With the crop_mode `letterbox` the longer side has `size` pixels, and the rest, right of or below it, is black.
    """

    input_size: tuple[int, int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Student:
    """A trained network with its origin.

    Attributes:
        model: in eval mode, on the CPU.
        classes: names of the classes.
        spec, record: of its stage.
        plugins: files that its network or its head come from.
    """

    model: Backbone
    classes: tuple[str, ...]
    spec: TrainingSpec
    record: TrainingRecord
    plugins: tuple[Path, ...] = ()

    @property
    def task(self) -> Task:
        if isinstance(self.model, DetectionNetwork):
            return DETECTION
        return SEGMENTATION if isinstance(self.model, SegmentationNetwork) else "classification"

    @property
    def source(self) -> str:
        return self.spec.model.source

    @property
    def label(self) -> str:
        """The network as a suite writes it."""
        return self.spec.model.label

    @property
    def size(self) -> int:
        """Pixels a side of the network's input."""
        return self.model.input_size or self.spec.recipe.image_size

    @property
    def preprocessing(self) -> Preprocessing:
        recipe = self.spec.recipe
        shorter = max(recipe.eval_resize or 0, recipe.image_size)
        return Preprocessing(
            input_size=(3, self.size, self.size),
            interpolation="bilinear",
            crop_pct=crop_share(self.size, round(self.size * shorter / recipe.image_size)),
            crop_mode="center" if self.task == "classification" else "letterbox",
            mean=_decimals(self.model.mean),
            std=_decimals(self.model.std),
        )

    def heads(self) -> list[nn.Linear]:
        """Its classifiers: one, or the class token's and the distillation token's.

        Raises:
            ExportError: a loss has put something else in the classifier's place.
        """
        heads = [head for head in (self.model.head, self.model.token_head) if head is not None]
        linear = [head for head in heads if isinstance(head, nn.Linear)]
        if len(linear) < len(heads):
            losses = ", ".join(loss.name for loss in self.spec.loss)
            raise ExportError(
                f"the classifier of {self.label} is not one linear layer but the one of its loss ({losses}), "
                f"which {self.source} cannot build"
            )
        return linear


def crop_share(size: int, shorter: int) -> float:
    """The crop_pct of crops of `size` pixels from images whose shorter side has so many: timm's floor(size / crop_pct).

    The plain quotient may be rounded up, and timm's floor be one pixel less then.
    """
    share = size / shorter
    return share if math.floor(size / share) == shorter else math.nextafter(share, 0)


# Logits [B, classes], of a segmentation [B, classes, H, W]; of a detection boxes [B, A, 4] and scores [B, A, classes].
Answers = tuple[Tensor, ...]


def answers_of(model: nn.Module, images: Tensor) -> Answers:
    """The answers of a network on images [B, 3, H, W] in 0..1."""
    outputs: Outputs = model(images)
    if outputs.boxes is not None:
        return candidates(outputs, images.shape[-1])
    assert outputs.logits is not None
    return (outputs.logits,)


@dataclass(frozen=True)
class Form:
    """One way of writing a student.

    Attributes:
        name: of the library that loads it.
        write: writes its files into a folder.
        answers: loads the folder anew and gives the answers on images [B, 3, H, W] in 0..1, as `answers_of`.
        usage: Python that loads it, for the card.
    """

    name: str
    write: Callable[[Path], None]
    answers: Callable[[Path, Tensor], Answers]
    usage: str


def library_state(student: Student, module: nn.Module, classifiers: list[str]) -> dict[str, Tensor]:
    """The student's tensors by the names of its library's own network, which has these classifiers.

    Raises:
        ExportError: the library's network has other tensors.
    """
    heads = student.heads()
    if len(heads) == 1:  # two classifiers whose logits are averaged: one of each is the same function
        heads *= len(classifiers)
    if len(heads) != len(classifiers):
        raise ExportError(f"{student.label} has {len(classifiers)} classifiers, the trained one {len(heads)}")
    state = dict(student.model.trunk.state_dict())
    for name, head in zip(classifiers, heads, strict=True):
        state |= {f"{name}.{part}": tensor.detach().clone() for part, tensor in head.named_parameters()}
    expected = module.state_dict()
    other = sorted(state.keys() ^ expected.keys())
    # A classifier may be a convolution of 1 x 1: the same numbers in another shape.
    other += [name for name in expected if name in state and state[name].numel() != expected[name].numel()]
    if other:
        raise ExportError(f"{student.label} has other tensors in {student.source} than it was trained with: {other[0]}")
    return {name: state[name].reshape(expected[name].shape).contiguous() for name in expected}


def normalised(images: Tensor, config: Mapping[str, JsonValue]) -> Tensor:
    """Images in 0..1, normalised by the mean and std of a config file."""
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (images - mean) / std


def torchvision_form(student: Student) -> Form:
    """A state dict for torchvision's own constructor."""
    name = student.spec.model.name
    params: Json = {**student.spec.model.arguments, "num_classes": len(student.classes)}
    if name in ("googlenet", "inception_v3"):  # as they were trained: without auxiliary classifiers
        params |= {"aux_logits": False, "transform_input": True, "init_weights": False}
    module = torchvision.models.get_model(name, **params)
    if isinstance(module, torchvision.models.SqueezeNet):
        raise ExportError(
            f"torchvision/{name} classifies before it pools, with a ReLU between; here it was trained with a linear "
            "classifier after pooling, which torchvision cannot build"
        )
    last = [label for label, part in module.named_modules() if isinstance(part, nn.Linear)][-1]
    config = _config(student, {"library": "torchvision", "architecture": name, "model_args": params})
    usage = """\
import json

import torchvision
from safetensors.torch import load_file

config = json.load(open("config.json"))
model = torchvision.models.get_model(config["architecture"], **config["model_args"])
model.load_state_dict(load_file("model.safetensors"))
model.eval()  # takes images normalised by config["mean"] and config["std"]
"""
    return Form("torchvision", _writer(config, library_state(student, module, [last])), _torchvision_answers, usage)


def _torchvision_answers(folder: Path, images: Tensor) -> Answers:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    module = torchvision.models.get_model(config["architecture"], **config["model_args"])
    module.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
    return (module.eval()(normalised(images, config)),)


def cifar_form(student: Student) -> Form:
    """A state dict by the names of the public weight files, which a suite's `weights: {file: PATH}` takes too."""
    (head,) = student.heads()
    name = student.model.trunk.classifier_name
    state = student.model.trunk.state_dict() | {f"{name}.{part}": t.detach() for part, t in head.named_parameters()}
    model = student.spec.model
    network = ModelSpec(source=model.source, name=model.name, params=model.arguments, input_size=model.input_size)
    fields: Json = {"library": "benchbench", "model": network.model_dump(mode="json", include=MODEL_FIELDS)}
    config = _config(student, fields)
    usage = """\
from benchbench.export.forms import load_exported

model, classes = load_exported(".")  # images [B, 3, H, W] in 0..1 -> Outputs(logits, embedding, features)
"""
    return Form("benchbench", _writer(config, state), lambda folder, x: answers_of(load_exported(folder)[0], x), usage)


def own_form(student: Student) -> Form:
    """The state dict of backbone and head, by BenchBench's names: no library builds the two as one network."""
    model = student.spec.model
    assert model.head is not None
    network = ModelSpec(
        source=model.source,
        name=model.name,
        params=model.arguments,
        input_size=model.input_size,
        head=ComponentSpec(name=model.head.name, params=model.head.arguments),
    )
    fields: Json = {
        "library": "benchbench",
        "task": student.task,
        "role": student.spec.role,
        "model": network.model_dump(mode="json", include={*MODEL_FIELDS, "head"}),
    }

    def answers(folder: Path, images: Tensor) -> Answers:
        return answers_of(load_exported(folder, student.plugins)[0], images)

    sides = "of sides that 32 divides" if getattr(student.model.head, "is_halving", False) else "of any size"
    usage = DETECTION_USAGE if student.task == DETECTION else SEGMENTATION_USAGE
    usage = OWN_USAGE + usage.format(size=student.size, sides=sides)
    return Form("benchbench", _writer(_config(student, fields), student.model.state_dict()), answers, usage)


OWN_USAGE = """\
from benchbench.export.forms import load_exported

model, names = load_exported(".")  # plugins=["FILE"] where the network or its head comes from a plugin's file
"""
SEGMENTATION_USAGE = """\
logits = model(images).logits  # images [B, 3, H, W] in 0..1, {sides} -> [B, classes, H, W]
masks = logits.argmax(1)  # the class of each pixel
"""
DETECTION_USAGE = """\
outputs = model(images)  # [B, 3, {size}, {size}] in 0..1
# Of each image corners [K, 4] in pixels, scores and class numbers [K], overlapping boxes dropped.
for corners, scores, numbers in model.detector.detections(outputs, {size}):
    for corner, score, number in zip(corners.tolist(), scores.tolist(), numbers.tolist()):
        print(names[number], score, corner)
"""


def load_exported(folder: str | Path, plugins: Sequence[str | Path] = ()) -> tuple[Backbone, tuple[str, ...]]:
    """A network that `benchbench export` has written in its own form, in eval mode on the CPU, and its class names.

    Logits of a segmentation have the size of the images that the network is given: [B, classes, H, W]. The boxes of a
    detection are those of `network.detector.detections(network(images), size)`.

    Args:
        folder: with its weights and config.json.
        plugins: files that its network or its head come from.
    """
    config = json.loads(Path(folder, CONFIG).read_text(encoding="utf-8"))
    registry = load_plugins([Path(plugin) for plugin in plugins]).registry
    path = Path(folder, WEIGHTS)
    if config.get("task") in (SEGMENTATION, DETECTION):
        names = tuple(config["label_names"])
        network = build_backbone(ModelSpec(**config["model"]), config["role"], registry, len(names))
        network.load_state_dict(safetensors.torch.load_file(path))
        return at_full_size(network).eval(), names
    weights = WeightsSpec(file=FileSpec(path=str(path), content=file_sha256(path)))
    spec = ModelSpec(**config["model"], weights=weights, mean=config["mean"], std=config["std"])
    classes = tuple(config["label_names"])
    # By number: its classifier has the order of these names, whatever order others have classes of such names in.
    numbers = tuple(map(str, range(len(classes))))
    model = build_backbone(spec, "student", registry, len(classes), published=numbers)
    return model.eval(), classes


def at_full_size(model: Backbone) -> Backbone:
    """The same network, whose logits of a segmentation have the size of its images from now on."""
    if isinstance(model, SegmentationNetwork):
        model.register_forward_hook(_enlarge, with_kwargs=True)
    return model


def _enlarge(_model: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor], outputs: Outputs) -> Outputs:
    assert outputs.logits is not None
    return replace(outputs, logits=enlarged(outputs.logits, args[0] if args else named["images"]))


def _config(student: Student, fields: Json) -> Json:
    return {
        **fields,
        "num_classes": len(student.classes),
        "label_names": list(student.classes),
        **student.preprocessing.as_json(),
    }


def _writer(config: Json, state: dict[str, Tensor]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        safetensors.torch.save_file(tensors, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")

    return write


def _decimals(values: Tensor) -> tuple[float, ...]:
    """Float32 numbers as they were written: 0.485, not 0.48500001430511475."""
    return tuple(float(str(value)) for value in values.flatten().numpy())
