"""Whether a method can work on a pair of networks, found out while planning: built without memory, nothing computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from benchbench.components import Registry
from benchbench.errors import StageError, one_line
from benchbench.losses.multi_teacher import add_student_heads, build_losses
from benchbench.models.backbone import Backbone, build_backbone


class LossDryRun:
    """Builds the students, teachers and losses of cells on the meta device; keeps the networks, which cells share."""

    def __init__(self, registry: Registry):
        self.registry = registry
        self.networks: dict[str, Backbone] = {}

    def refused(self, request: Mapping[str, Any]) -> str | None:
        """Why the losses of a cell cannot work on its networks; None where they can.

        Args:
            request: `student`, `teachers` (jobs of models, without weights; and whether each has a task `head`),
                `loss`, `classes`, `image_size`, `epochs`.
        """
        classes = request["classes"]
        student = self._network("student", request["student"], classes)
        teachers = [
            self._network("teacher", each["model"], classes if each["head"] else None) for each in request["teachers"]
        ]
        labels = torch.arange(2 * classes) % classes
        device = torch.device("meta")
        head, token_head = student.head, student.token_head
        try:
            with device:
                add_student_heads(student, request["loss"], self.registry, [teacher.dim for teacher in teachers])
            weights = [1.0] * len(teachers)
            build_losses(request["loss"], self.registry, student, teachers, weights, request, labels, device)
        except StageError as error:
            return one_line(error)
        finally:
            student.head, student.token_head = head, token_head
        return None

    def _network(self, kind: str, model: dict[str, Any], classes: int | None) -> Backbone:
        key = json.dumps([kind, model, classes], sort_keys=True)
        if key not in self.networks:
            self.registry.get(kind, model["source"]).load()  # some libraries compute with tensors at import
            try:
                with torch.device("meta"):
                    self.networks[key] = build_backbone(model, kind, self.registry, classes)
            except NotImplementedError:  # a constructor that computes with tensors
                self.networks[key] = build_backbone(model, kind, self.registry, classes).to("meta")
        return self.networks[key]
