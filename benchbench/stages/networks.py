"""A stage's frozen networks: built, fingerprinted, and run as fast as tuning allows."""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import safetensors.torch
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchbench.data.loader import Loader
from benchbench.errors import one_line
from benchbench.execution.network import ConfiguredModel, ExecutionConfig, Precision, frozen_network
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.specs.parts import Choice, NetworkSpec
from benchbench.specs.records import ExecutionRecord, FrozenModelRecord, TuningRecord
from benchbench.specs.stages import BaseSpec, OutputsSpec, QualitySpec, TrainingSpec
from benchbench.stages.context import StageContext

# Images on which two ways of running a network are compared.
SAMPLE = 16


def sample_of(loader: Loader, config: ExecutionConfig, batch_size: int) -> Tensor:
    """Images to compare two ways on; a compiled network is made for one batch size, and is given that."""
    return next(loader.test_batches(batch_size if config.compile else SAMPLE)).images


def load_frozen(context: StageContext[BaseSpec], network: NetworkSpec, index: int, classes: int) -> Backbone:
    """A frozen network, with the weights of the stage that adapted it, on the device; `index` among the teachers."""
    adapted = network.state != "pretrained"
    model = build_backbone(network.model, network.role, context.registry, classes if adapted else None)
    if adapted:
        model.load_state_dict(safetensors.torch.load_file(context.needs[f"teacher{index}"].verified_weights()))
    return model.freeze().to(torch.device(context.device))


def tuned(context: StageContext[TrainingSpec | OutputsSpec | QualitySpec], role: str) -> ExecutionConfig:
    """The execution of a network of this stage: as measured on this device, or as the recipe fixes it."""
    folder, recipe = context.needs.get(f"tuning.{role}"), context.spec.recipe
    record = folder.done() if folder else None
    if isinstance(record, TuningRecord):
        return ExecutionConfig.of(record.metrics.execution)
    return fixed_execution(recipe.precision, recipe.channels_last)


def fixed_execution(
    precision: Literal["fp32", "auto", "bf16", "fp16", "exact"], channels_last: Choice
) -> ExecutionConfig:
    """The execution that a recipe fixes, where nothing has been measured."""
    precisions: dict[str, Precision] = {"bf16": "bf16", "fp16": "fp16"}
    return ExecutionConfig(precisions.get(precision, "fp32"), channels_last is True)


def run_frozen(
    context: StageContext[TrainingSpec | OutputsSpec | QualitySpec],
    index: int,
    model: Backbone,
    loader: Loader,
    maps: bool = False,
) -> tuple[ConfiguredModel, ExecutionRecord]:
    """A frozen network as tuned, if that moves its outputs no further than the recipe allows.

    Args:
        context: of the stage.
        index: of the network among the teachers.
        model: frozen, on the device.
        loader: gives images to compare outputs on.
        maps: the maps between stages count too.
    """
    recipe, config = context.spec.recipe, tuned(context, f"teacher{index}")
    # A precision that is asked for in so many words is used, and its deviation is in the record.
    tolerance = math.inf if recipe.precision in ("bf16", "fp16") else recipe.tolerance
    sample = sample_of(loader, config, recipe.batch_size)
    network, execution = frozen_network(model, config, sample, tolerance, maps)
    if execution.refused:
        deviations = ", ".join(f"{name}: {value:.2g}" for name, value in execution.refused.items())
        print(f"teacher {index + 1} runs more slowly than it could: its outputs would move ({deviations})")
    return network, execution


def forward_flops(model: Backbone, size: int) -> int | None:
    """Floating-point operations of one forward pass of one image of `size` pixels a side; None where nobody knows.

    PyTorch's counter: a multiplication and an addition are two, and all but convolutions, matrix products and attention
    counts nothing. On the meta device: only shapes pass through the network.
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


def fingerprint(model: Backbone, size: int) -> FrozenModelRecord:
    """The record of a frozen network, with its FLOPs on images of `size` pixels a side."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return FrozenModelRecord(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=forward_flops(model, size),
        dim=model.dim,
        sha256=digest.hexdigest(),
    )
