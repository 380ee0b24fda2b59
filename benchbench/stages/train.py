"""The stage that trains one network: a cell's student, or a teacher's adaptation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from benchbench.data.feeds import Feed, Pipeline, bind_augmenters, bind_mixers, make_feed
from benchbench.data.images import ImageSet
from benchbench.data.splits import hold_out, subset
from benchbench.errors import DataError
from benchbench.losses.teachers import fit_student, make_lessons
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.stages.context import StageContext
from benchbench.store import file_sha256, write_atomic
from benchbench.training.checkpoint import Checkpoints
from benchbench.training.loop import Training, correct_by_example
from benchbench.training.seeds import derive


def run(context: StageContext) -> dict[str, Any]:
    """Trains, tests once, and leaves weights; gives the stage's record."""
    job, device = context.job, torch.device(context.device)
    checkpoints = Checkpoints(context.folder, context.checkpoint_seconds)
    state = checkpoints.load()
    # Sums depend on how work is split over threads: a resumed run keeps the count it began with.
    torch.set_num_threads(state["threads"] if state else context.threads)
    torch.manual_seed(derive(job["seed"], "initialisation"))

    begun = time.perf_counter()
    data = _Data(context, device)
    published = job["method"] == "published"
    model = build_backbone(job["model"], job["model_kind"], context.registry, len(data.classes), published)
    teachers = [_teacher(context, number, len(data.classes), device) for number in range(len(job["teachers"]))]
    started = time.perf_counter()
    fit_student(model, job["loss"], context.registry, [teacher.dim for teacher in teachers])
    if job["method"] == "linear_probe":
        model.freeze(head=False)
    _place(model, job, device)
    torch.manual_seed(derive(job["seed"], "losses"))
    weights = [entry["weight"] for entry in job["teachers"]]
    losses = make_lessons(
        job["loss"], context.registry, model, teachers, weights, job["recipe"], data.train.labels, device
    )
    training = Training(
        model=model,
        teachers=teachers,
        losses=losses,
        train=data.train,
        validation=data.validation,
        recipe=job["recipe"],
        seed=job["seed"],
        best=job["selection"] == "best",
        device=device,
        checkpoints=checkpoints,
        report=context.report,
        seconds={"loading": started - begun, "setup": time.perf_counter() - started},
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    training.run(state)
    with training.timed("loading"):
        test = data.test()
    with training.timed("evaluation"):
        correct = correct_by_example(training, test)
    with training.timed("checkpoint"):
        tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        write_atomic(context.folder.weights, safetensors.torch.save(tensors))
    steps = training.steps * (job["recipe"]["epochs"] + training.preparation)
    # A resumed run keeps its first thread count, so that is what it holds of a CPU, whatever it was given this time.
    held = context.held if device.type == "cuda" else torch.get_num_threads()
    # Reading images and weights is not charged: the first cell would pay for everybody's download.
    charged = sum(seconds for name, seconds in training.seconds.items() if name != "loading")
    return {
        "metrics": {
            "test_accuracy": float(correct.mean()),
            "test_count": len(correct),
            "test_correct": np.packbits(correct).tobytes().hex(),
            "chosen_epoch": training.best_epoch["epoch"] if training.best_epoch else job["recipe"]["epochs"],
            "validation_accuracy": training.best_epoch["accuracy"] if training.best_epoch else None,
        },
        "curve": training.curve,
        "cost": {
            "seconds": training.seconds,
            "devices": held,
            "unit": context.unit,
            "device_hours": charged * held / 3600,
            "images": steps * min(job["recipe"]["batch_size"], len(data.train.labels)),
            "peak_device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        },
        "data": data.described,
        "model": {"parameters": sum(p.numel() for p in model.parameters())},
        "teachers": [_fingerprint(teacher) for teacher in teachers],
        "weights_sha256": file_sha256(context.folder.weights),
    }


class _Data:
    """The splits of a job's data set as feeds. The test split is read when it is asked for, at the end."""

    def __init__(self, context: StageContext, device: torch.device):
        job, recipe = context.job["data"], context.job["recipe"]
        component = context.registry.get("dataset", job["source"]["name"])
        self._load, self._params = component.load(), component.params.model_validate(job["source"]["params"])
        self._root, self._device = context.data_root, device

        def load(name: str) -> Callable[..., Any]:
            return context.registry.get("augmenter", name).load()

        augmenters, mixers = bind_augmenters(recipe, load), bind_mixers(recipe, load)
        self._pipeline = Pipeline(recipe["image_size"], recipe["eval_resize"], augmenters, mixers)
        # Loader processes take cores from the other workers, so a worker of one thread decodes by itself.
        self._workers = 0 if context.threads == 1 else min(8, context.threads)
        images: ImageSet = self._load(self._params, self._root, "train")
        self.classes = images.classes
        part = subset(images.labels, job["fraction"], job["per_class"], job["subset_seed"])
        kept, held = hold_out(images.labels[part], job["validation"])
        self.train = self._feed(images, part[kept])
        self.validation = self._feed(images, part[held]) if len(held) else None
        if context.job["selection"] == "best" and not len(held):
            raise DataError("no class has an image to spare for validation; take more images, or `selection: last`")
        self.described = {"names": list(self.classes), "train": len(kept), "validation": len(held)}
        if (
            images.array is not None
        ):  # streamed sets are known by the fingerprint in their spec, or by their publisher's
            pixels = images.labels[part].tobytes() + images.array[part].tobytes()
            self.described["sha256"] = hashlib.sha256(pixels).hexdigest()

    def _feed(self, images: ImageSet, indices: np.ndarray) -> Feed:
        return make_feed(images, indices, self._pipeline, self._device, self._workers)

    def test(self) -> Feed:
        images: ImageSet = self._load(self._params, self._root, "test")
        if images.classes != self.classes:
            raise DataError("the test split has other classes than the training split")
        self.described["test"] = len(images)
        return self._feed(images, np.arange(len(images)))


def _teacher(context: StageContext, number: int, classes: int, device: torch.device) -> Backbone:
    entry = context.job["teachers"][number]
    adapted = entry["adapt"] != "pretrained"
    teacher = build_backbone(entry["model"], "teacher", context.registry, classes if adapted else None)
    if adapted:
        teacher.load_state_dict(safetensors.torch.load_file(context.needs[f"teacher{number}"].verified_weights()))
    teacher.freeze()
    _place(teacher, context.job, device)
    return teacher


def _fingerprint(model: Backbone) -> dict[str, Any]:
    """Which network it was: its size, its embedding's width, and the sha256 of its parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    size = sum(p.numel() for p in model.parameters())
    return {"parameters": size, "dim": model.dim, "sha256": digest.hexdigest()}


def _place(model: nn.Module, job: dict[str, Any], device: torch.device) -> None:
    layout = torch.channels_last if job["recipe"]["channels_last"] else torch.contiguous_format
    model.to(device).to(memory_format=layout)
