"""A stage's frozen networks: built, weighed, and run as fast as was found out."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchbench.data.loader import Loader
from benchbench.errors import one_line
from benchbench.execution.network import ConfiguredModel, ExecutionConfig, frozen_network
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.stages.context import StageContext
from benchbench.training.loop import fixed_execution

# Images that two ways of running a network are compared on.
SAMPLE = 16


def sample_of(loader: Loader, how: ExecutionConfig, batch_size: int) -> Tensor:
    """Images to compare two ways on; a compiled network is made for one batch size, and is given that."""
    return next(loader.test_batches(batch_size if how.compile else SAMPLE)).images


def load_frozen(context: StageContext, number: int, classes: int, device: torch.device) -> Backbone:
    """One of the job's teachers, with the weights of the stage that adapted it, on the device."""
    entry = context.job["teachers"][number]
    adapted = entry["adapt"] != "pretrained"
    kind = entry.get("kind", "teacher")
    model = build_backbone(entry["model"], kind, context.registry, classes if adapted else None)
    if adapted:
        model.load_state_dict(safetensors.torch.load_file(context.needs[f"teacher{number}"].verified_weights()))
    return model.freeze().to(device)


def tuned(context: StageContext, role: str) -> ExecutionConfig:
    """How a network of this stage is run: as measured on this device, or as the recipe fixes it."""
    folder = context.needs.get(f"tuning.{role}")
    record = folder.done() if folder else None
    return ExecutionConfig.of(record["metrics"]["execution"]) if record else fixed_execution(context.job["recipe"])


def run_frozen(
    context: StageContext, number: int, model: Backbone, device: torch.device, loader: Loader, maps: bool = False
) -> tuple[ConfiguredModel, dict[str, Any]]:
    """A frozen network as it was found to run fastest, if that moves its outputs no further than the recipe allows.

    Returns:
        The network, and how it is run, for the record.
    """
    recipe, how = context.job["recipe"], tuned(context, f"teacher{number}")
    # A precision that is asked for in so many words is taken, and how far it moves the outputs is in the record.
    tolerance = math.inf if recipe["precision"] in ("bf16", "fp16") else recipe["tolerance"]
    sample = sample_of(loader, how, recipe["batch_size"])
    network, report = frozen_network(model, how, sample, tolerance, maps)
    if report["refused"]:
        moved = ", ".join(f"{name}: {value:.2g}" for name, value in report["refused"].items())
        print(f"teacher {number + 1} is run more slowly than it could be: its outputs would move ({moved})")
    return network, report


def forward_flops(model: Backbone, size: int) -> int | None:
    """Floating-point operations of one forward pass of one image of `size` pixels a side; None where nobody knows.

    PyTorch's counter: a multiplication and an addition are two, and what is neither a convolution, a matrix product nor
    attention counts nothing. On the meta device: only shapes pass through the network.
    """
    tensors = {name: tensor.to("meta") for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    images, training = torch.zeros(1, 3, size, size, device="meta"), model.training
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            torch.func.functional_call(model.eval(), tensors, (images,))
    except Exception as error:  # a plugin's network that must see numbers
        print(f"its FLOPs are not known ({one_line(error)})")
        return None
    finally:
        model.train(training)
    return counter.get_total_flops()


def fingerprint(model: Backbone, size: int) -> dict[str, Any]:
    """Which network it was: its size, its embedding's width, and the sha256 of its parameters and buffers; and its
    FLOPs on images of `size` pixels."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    parameters = sum(p.numel() for p in model.parameters())
    flops = forward_flops(model, size)
    return {"parameters": parameters, "flops": flops, "dim": model.dim, "sha256": digest.hexdigest()}
