"""The form that timm loads alone: `timm.create_model("local-dir:FOLDER", pretrained=True)`, or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import save_for_hf
from torch import Tensor, nn

from benchbench.errors import ExportError
from benchbench.export.forms import Answers, Form, Student, library_state, normalised

# Of timm's description of its own weights these hold for any others; the rest (tag, licence, paper, hub) does not.
ARCHITECTURE_FIELDS = ("architecture", "fixed_input_size", "first_conv", "classifier")


def timm_form(student: Student) -> Form:
    """timm's own layout: model.safetensors, and config.json with the architecture and a pretrained_cfg.

    Raises:
        ExportError: timm's network has another classifier than one linear layer.
    """
    model, classes = student.spec.model, len(student.classes)
    module: Any = timm.create_model(model.name, **{**model.arguments, "num_classes": classes})
    module.load_state_dict(library_state(student, module, _classifiers(module, student)))
    fields = {name: value for name, value in module.pretrained_cfg.items() if name in ARCHITECTURE_FIELDS}
    module.pretrained_cfg = {**fields, **student.preprocessing.as_json(), "num_classes": classes}
    config = {"label_names": list(student.classes)}

    def write(folder: Path) -> None:
        save_for_hf(module, str(folder), model_config=config, model_args=model.arguments, safe_serialization=True)

    usage = """\
import timm

model = timm.create_model("local-dir:.", pretrained=True).eval()  # or hf-hub:USER/NAME, once it is there
transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
names = model.pretrained_cfg["label_names"]
"""
    return Form("timm", write, _answers, usage)


def _classifiers(module: Any, student: Student) -> list[str]:
    """Names of the linear layers (or 1 x 1 convolutions) that timm's network classifies with."""
    classifier = module.get_classifier()
    parts = classifier if isinstance(classifier, tuple | list | nn.ModuleList) else [classifier]
    names = {id(part): name for name, part in module.named_modules()}
    classifiers = []
    for part in parts:
        layers = [layer for layer in part.modules() if any(True for _ in layer.parameters(recurse=False))]
        if len(layers) != 1 or not isinstance(layers[0], nn.Linear | nn.Conv2d):
            kinds = " + ".join(type(layer).__name__ for layer in layers) or type(part).__name__
            raise ExportError(f"the classifier of {student.label} in timm is {kinds}, and the trained one is linear")
        classifiers.append(names[id(layers[0])])
    return classifiers


def _answers(folder: Path, images: Tensor) -> Answers:
    module: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return (module.eval()(normalised(images, module.pretrained_cfg)),)
